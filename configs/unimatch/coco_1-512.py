# UniMatch V1 on COCO 1/512 (232 labelled, 118,055 unlabelled), DeepLabv3+ R101.
#   tools/dist_train.sh configs/unimatch/coco_1-512.py 4
# The labelled list is an import: the header of configs/supervised/coco_1-512_unimatch.py says from
# where.
# Total batch 8 labelled + 8 unlabelled (2 + 2 on each of 4 GPUs), SGD lr 0.004 for the backbone and
# 0.04 for the head, weight decay 1e-4, 442,710 iterations, crop 513, threshold 0.95. Evaluation:
# whole image, single scale, 5,000 val images, best checkpoint.
# Published with Xception-65 (README of the released code): 31.9 mIoU; this net is R101.
# One GPU, R50 and the other forms of the method: --cfg-options in configs/unimatch/README.md.
_base_ = "../supervised/coco_1-512_unimatch.py"
model = dict(
    type="UniMatch",
    data_preprocessor=dict(
        num_student_views=2,
        strong=dict(type="StrongPhotometric"),
        mix=dict(type="SingleBoxCutMix", pairing="permute"),
    ),
    semi_train_cfg=dict(threshold=0.95),
)
train_dataloader = dict(batch_size=4, sampler=dict(num_per_source=dict(unlabeled=2)))
auto_scale_lr = dict(base_batch_size=16)
