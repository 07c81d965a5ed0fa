# CutMix mean teacher on Cityscapes 1/8 (372 labelled, 2,603 unlabelled), DeepLabv3+ R50.
#   tools/dist_train.sh configs/cutmix_mean_teacher/cityscapes_1-8.py 8
# The list is an import: the header of configs/supervised/cityscapes_1-8.py says from where.
# An approximation: neither code nor weights of the CutMix-Seg rows in the CPS tables are published.
# Schedule, net and average are those of mean_teacher, mask and loss those of French et al., BMVC
# 2020, with their weight 1, which belongs to another optimiser.
# Total batch 8 labelled + 16 unlabelled, which make 8 mixed ones (1 + 2 on each of 8 GPUs), lr
# 0.0025, weight decay 8e-4, 44,525 iterations, EMA decay 0.99, OHEM on labelled images. Evaluation:
# teacher, sliding window 800 / 534, single scale, 500 val images, best checkpoint.
# Published as CutMix-Seg with R101 (a later re-run by others, quoted): 71.83 mIoU; none with R50.
# R101, one GPU and other forms: --cfg-options in configs/cutmix_mean_teacher/README.md.
_base_ = "../supervised/cityscapes_1-8.py"
model = dict(
    type="CutMixMeanTeacher",
    data_preprocessor=dict(mix=dict(type="CutMix", num_boxes=1, area_range=(0.5, 0.5))),
    semi_train_cfg=dict(unsup_weight=1.0, momentum=0.01, buffers="keep", ema_when="mid"),
    semi_test_cfg=dict(predict_on="teacher"),
)
train_dataloader = dict(batch_size=3, sampler=dict(num_per_source=dict(unlabeled=2)))
auto_scale_lr = dict(base_batch_size=24)
