# UniMatch V1 on ADE20K 1/64 (316 labelled, 19,894 unlabelled), DeepLabv3+ R101.
#   tools/dist_train.sh configs/unimatch/ade20k_1-64.py 4
# Total batch 8 labelled + 8 unlabelled (2 + 2 on each of 4 GPUs), SGD lr 0.001 for the backbone and
# 0.01 for the head, weight decay 1e-4, 149,220 iterations, crop 513, threshold 0.95. Evaluation:
# whole image, single scale, 2,000 val images, best checkpoint.
# No number of a convolutional net is published: the settings are ours, after those of VOC.
# One GPU, R50 and the other forms of the method: --cfg-options in configs/unimatch/README.md.
_base_ = "../supervised/ade20k_1-64_unimatch.py"
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
