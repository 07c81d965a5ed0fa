# CPS+CutMix with 92 of the 1,464 VOC 2012 train images labelled (partition of PseudoSeg), R50.
#   tools/dist_train.sh configs/cps/voc_92.py 4
# The list is an import: the header of configs/supervised/voc_92.py says from where. Unlabelled are
# all 10,582 train_aug images. Total batch 8 labelled + 16 unlabelled (2 + 4 on each of 4 GPUs),
# lr 0.0025, weight decay 4e-4, 39,660 iterations (inferred: 30 epochs), lambda 0.1 (the authors call
# 0.5 clearly better for 183, 366, 732). Branch 0, whole image, single scale, best checkpoint.
# Published: 64.07 mIoU (Chen et al., CVPR 2021, quoted; R50 or R101 is not stated there).
_base_ = "../supervised/voc_92.py"
model = dict(
    type="CPS",
    data_preprocessor=dict(mix=dict(type="CutMix")),
    semi_train_cfg=dict(unsup_weight=0.1),
    semi_test_cfg=dict(predict_on=0),
)
train_dataloader = dict(batch_size=6, sampler=dict(num_per_source=dict(unlabeled=4)))
auto_scale_lr = dict(base_batch_size=24)
