# Mean teacher on PASCAL VOC 2012 train_aug 1/8 (1,323 labelled, 9,259 unlabelled), DeepLabv3+ R50.
#   tools/dist_train.sh configs/mean_teacher/voc_1-8.py 4
# Total batch 8 labelled + 8 unlabelled (2 + 2 on each of 4 GPUs), lr 0.0025, weight decay 4e-4
# (effective values of the released code, see the baseline), 39,338 iterations, consistency weight
# 100, EMA decay 0.99. Evaluation: student, whole image, single scale, 1,449 val images, best
# checkpoint.
# Published (CPS paper's re-run, quoted): 70.78 mIoU; R101 73.20.
# R101, one GPU and other forms: --cfg-options in configs/mean_teacher/README.md.
_base_ = "../supervised/voc_1-8.py"
model = dict(
    type="MeanTeacher",
    semi_train_cfg=dict(unsup_weight=100.0, consistency="mse", momentum=0.01),
    semi_test_cfg=dict(predict_on="student"),
)
train_dataloader = dict(batch_size=4, sampler=dict(num_per_source=dict(unlabeled=2)))
auto_scale_lr = dict(base_batch_size=16)
