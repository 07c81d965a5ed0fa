# Second of three: the pre-trained generator against a discriminator that takes part from the start,
# still on all masks. It judges labelled images only, and its ground truth are their masks.
#   DIR=work_dirs/advsemiseg/shapes_plateau_baseline
#   python tools/export_segmentor.py $DIR/best_mIoU_iter_*.pth $DIR/export
#   python tools/train.py configs/advsemiseg/shapes_plateau_adversarial.py
_base_ = "./shapes_plateau_baseline.py"
# Not load_from: a later --resume would resume from that file.
pretrained = "work_dirs/advsemiseg/shapes_plateau_baseline/export/weights.pth"
model = dict(
    type="AdvSemiSeg",
    segmentor=dict(init_cfg=dict(type="Pretrained", checkpoint=pretrained)),
    discriminator=dict(type="FCDiscriminator", base_channels=16),  # narrow, like the net
    semi_train_cfg=dict(unsup_start=0, unsup_adv_weight=0.0, judge_unlabeled=False),
)
optim_wrapper = dict(
    constructor="JointOptimWrapperConstructor",
    optimizer=dict(lr=0.003),  # half of the baseline's
    discriminator=dict(optimizer=dict(type="Adam", lr=1e-4, betas=(0.9, 0.99))),
)
