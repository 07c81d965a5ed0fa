# s4GAN with MLMT: voc_1-8_coco.py, whose predictions lose the classes that the classifier of
# configs/mlmt/voc_1-8.py gives less than 0.2. Its training writes the scores.
#   python tools/test.py configs/s4gan/voc_1-8_coco_fused.py CKPT
# Published: 71.4 mIoU [Q].
_base_ = "./voc_1-8_coco.py"
test_evaluator = [
    dict(type="IoUMetric", iou_metrics=["mIoU"]),
    dict(
        type="GatedIoUMetric",
        iou_metrics=["mIoU"],
        gate=dict(scores="work_dirs/mlmt/voc_1-8/scores.npz", threshold=0.2),
    ),
]
