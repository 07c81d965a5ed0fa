# FixMatch (the student labels) on PASCAL VOC 2012 train_aug 1/8 (1,323 labelled, 9,259 unlabelled),
# DeepLabv3+ R101.
#   tools/dist_train.sh configs/fixmatch/voc_1-8.py 4
# Total batch 8 labelled + 8 unlabelled (2 + 2 on each of 4 GPUs), SGD lr 0.001 for the backbone and
# 0.01 for the head, weight decay 1e-4, 92,560 iterations, crop 321, threshold 0.95. Evaluation:
# whole image, single scale, 1,449 val images, best checkpoint.
# No FixMatch number of this net is in the sources that we know.
# One GPU, R50 and the other forms of the method: --cfg-options in configs/fixmatch/README.md.
_base_ = "../supervised/voc_1-8_unimatch.py"
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
