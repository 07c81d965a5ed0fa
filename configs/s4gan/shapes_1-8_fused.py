# s4GAN with MLMT on the built-in set: shapes_1-8.py, whose predictions lose the classes that the
# classifier of configs/mlmt/shapes_1-8.py gives less than 0.2. That training writes the scores.
#   python tools/test.py configs/s4gan/shapes_1-8_fused.py work_dirs/s4gan/shapes_1-8/iter_1200.pth
_base_ = "./shapes_1-8.py"
test_evaluator = [
    dict(type="IoUMetric", iou_metrics=["mIoU"]),
    dict(
        type="GatedIoUMetric",
        iou_metrics=["mIoU"],
        gate=dict(scores="work_dirs/mlmt/shapes_1-8/scores.npz", threshold=0.2),
    ),
]
