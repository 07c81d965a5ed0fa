# FixMatch (the student labels) on COCO 1/32 (3,697 labelled, 114,590 unlabelled), DeepLabv3+ R101.
#   tools/dist_train.sh configs/fixmatch/coco_1-32.py 4
# The labelled list is an import: the header of configs/supervised/coco_1-32_unimatch.py says from
# where.
# Total batch 8 labelled + 8 unlabelled (2 + 2 on each of 4 GPUs), SGD lr 0.004 for the backbone and
# 0.04 for the head, weight decay 1e-4, 429,720 iterations, crop 513, threshold 0.95. Evaluation:
# whole image, single scale, 5,000 val images, best checkpoint.
# No FixMatch number of this net is in the sources that we know; UniMatch's net is Xception-65.
# One GPU, R50 and the other forms of the method: --cfg-options in configs/fixmatch/README.md.
_base_ = "../supervised/coco_1-32_unimatch.py"
model = dict(
    type="FixMatch",
    data_preprocessor=dict(
        strong=dict(type="StrongPhotometric"),
        mix=dict(type="SingleBoxCutMix", pairing="permute"),
    ),
    semi_train_cfg=dict(labels_from="student", threshold=0.95),
)
train_dataloader = dict(batch_size=4, sampler=dict(num_per_source=dict(unlabeled=2)))
auto_scale_lr = dict(base_batch_size=16)
