# UniMatch V1 on PASCAL VOC 2012 train_aug 1/16 (662 labelled, 9,920 unlabelled), DeepLabv3+ R101.
#   tools/dist_train.sh configs/unimatch/voc_1-16.py 4
# Total batch 8 labelled + 8 unlabelled (2 + 2 on each of 4 GPUs), SGD lr 0.001 for the backbone and
# 0.01 for the head, weight decay 1e-4, 99,200 iterations, crop 321, threshold 0.95. Evaluation:
# whole image, single scale, 1,449 val images, best checkpoint.
# Published (mean of the three logged runs of the released code): 77.0 mIoU.
# One GPU, R50 and the other forms of the method: --cfg-options in configs/unimatch/README.md.
_base_ = "../supervised/voc_1-16_unimatch.py"
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
