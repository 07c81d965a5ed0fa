# FixMatch (the student labels) on Cityscapes 1/8 (372 labelled, 2,603 unlabelled), DeepLabv3+ R101.
#   tools/dist_train.sh configs/fixmatch/cityscapes_1-8.py 4
# The labelled list is an import: the header of configs/supervised/cityscapes_1-16_unimatch.py says
# from where.
# Total batch 8 labelled + 8 unlabelled (2 + 2 on each of 4 GPUs), SGD lr 0.005 for backbone and
# head, weight decay 1e-4, 78,000 iterations, crop 801, OHEM on labelled images, threshold 0.
# Evaluation: sliding window 801 / 534, single scale, 500 val images, best checkpoint.
# No FixMatch number of this net is in the sources that we know.
# One GPU, R50 and the other forms of the method: --cfg-options in configs/fixmatch/README.md.
_base_ = "../supervised/cityscapes_1-8_unimatch.py"
model = dict(
    type="FixMatch",
    data_preprocessor=dict(
        strong=dict(type="StrongPhotometric"),
        mix=dict(type="SingleBoxCutMix", pairing="permute"),
    ),
    semi_train_cfg=dict(labels_from="student", threshold=0.0),
)
train_dataloader = dict(batch_size=4, sampler=dict(num_per_source=dict(unlabeled=2)))
auto_scale_lr = dict(base_batch_size=16)
