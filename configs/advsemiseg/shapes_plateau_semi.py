# Third of three: 1/8 of the masks, the other images without. The generator was pre-trained on the
# same 1/8: had it seen more masks, its score would say nothing about the unlabelled images.
#   DIR=work_dirs/advsemiseg/shapes_plateau_baseline_1-8
#   python tools/train.py configs/advsemiseg/shapes_plateau_baseline.py --work-dir $DIR \
#       --cfg-options train_dataloader.dataset.split.ratio=1/8
#   python tools/export_segmentor.py $DIR/best_mIoU_iter_*.pth $DIR/export
#   python tools/train.py configs/advsemiseg/shapes_plateau_semi.py
_base_ = "./shapes_plateau_adversarial.py"
pretrained = "work_dirs/advsemiseg/shapes_plateau_baseline_1-8/export/weights.pth"
model = dict(segmentor=dict(init_cfg=dict(checkpoint=pretrained)))
train_dataloader = dict(
    batch_size=16,
    sampler=dict(num_per_source=dict(unlabeled=8)),
    dataset=dict(split=dict(ratio=1 / 8)),
)
