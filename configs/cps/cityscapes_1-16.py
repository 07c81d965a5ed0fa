# CPS (without CutMix) on Cityscapes 1/16 (186 labelled, 2,789 unlabelled), DeepLabv3+ R50.
#   tools/dist_train.sh configs/cps/cityscapes_1-16.py 8
# The list is an import: the header of configs/supervised/cityscapes_1-8.py says from where.
# Total batch 8 labelled + 8 unlabelled (1 + 1 on each of 8 GPUs), lr 0.0025, weight decay 8e-4,
# 44,544 iterations, crop 800, lambda 6, OHEM on labelled images. Branch 0, sliding window 800 / 534,
# single scale, 500 val images, best checkpoint.
# Published (Chen et al., CVPR 2021, table 2): 69.79; CutMix 74.47; R101 70.50; R101 CutMix 74.72.
# CutMix, R101 and other settings: --cfg-options in configs/cps/README.md.
_base_ = "../supervised/cityscapes_1-16.py"
model = dict(
    type="CPS",
    semi_train_cfg=dict(unsup_weight=6.0),
    semi_test_cfg=dict(predict_on=0),
)
train_dataloader = dict(batch_size=2, sampler=dict(num_per_source=dict(unlabeled=1)))
auto_scale_lr = dict(base_batch_size=16)
