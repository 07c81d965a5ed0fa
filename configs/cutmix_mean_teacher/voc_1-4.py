# CutMix mean teacher on PASCAL VOC 2012 train_aug 1/4 (2,646 labelled, 7,936 unlabelled),
# DeepLabv3+ R50.
#   tools/dist_train.sh configs/cutmix_mean_teacher/voc_1-4.py 4
# An approximation: neither code nor weights of the CutMix-Seg rows in the CPS tables are published.
# Schedule, net and average are those of mean_teacher, mask and loss those of French et al., BMVC
# 2020, with their weight 1, which belongs to another optimiser.
# Total batch 8 labelled + 16 unlabelled, which make 8 mixed ones (2 + 4 on each of 4 GPUs), lr
# 0.0025, weight decay 4e-4, 39,680 iterations, EMA decay 0.99. Evaluation: teacher, whole image,
# single scale, 1,449 val images, best checkpoint.
# Published as CutMix-Seg (CPS paper's re-run, quoted): 72.46 mIoU; R101 74.25.
# R101, one GPU and other forms: --cfg-options in configs/cutmix_mean_teacher/README.md.
_base_ = "../supervised/voc_1-4.py"
model = dict(
    type="CutMixMeanTeacher",
    data_preprocessor=dict(mix=dict(type="CutMix", num_boxes=1, area_range=(0.5, 0.5))),
    semi_train_cfg=dict(unsup_weight=1.0, momentum=0.01, buffers="keep", ema_when="mid"),
    semi_test_cfg=dict(predict_on="teacher"),
)
train_dataloader = dict(batch_size=6, sampler=dict(num_per_source=dict(unlabeled=4)))
auto_scale_lr = dict(base_batch_size=24)
