# CPS (without CutMix) on PASCAL VOC 2012 train_aug 1/4 (2,646 labelled, 7,936 unlabelled), R50.
#   tools/dist_train.sh configs/cps/voc_1-4.py 4
# Total batch 8 labelled + 8 unlabelled (2 + 2 on each of 4 GPUs), lr 0.0025, weight decay 4e-4,
# 39,680 iterations, lambda 1.5. Branch 0, whole image, single scale, 1,449 val images, best checkpoint.
# Published (Chen et al., CVPR 2021, table 1): 74.24; CutMix 74.90; R101 77.55; R101 CutMix 77.68.
# CutMix, R101 and other settings: --cfg-options in configs/cps/README.md.
_base_ = "../supervised/voc_1-4.py"
model = dict(
    type="CPS",
    semi_train_cfg=dict(unsup_weight=1.5),
    semi_test_cfg=dict(predict_on=0),
)
train_dataloader = dict(batch_size=4, sampler=dict(num_per_source=dict(unlabeled=2)))
auto_scale_lr = dict(base_batch_size=16)
