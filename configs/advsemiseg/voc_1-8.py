# AdvSemiSeg on PASCAL VOC 2012 train_aug 1/8 (1,322 labelled, 9,260 unlabelled), DeepLabv2 R101
# from MS-COCO weights, crop 321.
#   python tools/train.py configs/advsemiseg/voc_1-8.py
# Weights, labelled images and evaluation: the header of configs/supervised/voc_1-8_advsemiseg.py.
# One GPU: 10 labelled + 10 unlabelled images + 10 ground-truth maps, SGD lr 2.5e-4 (head 2.5e-3),
# weight decay 5e-4, discriminator Adam lr 1e-4, both poly 0.9, 20,000 iterations; pseudo-labels
# from 5,000 on.
# Published: 69.5 mIoU [Q] (Hung et al., BMVC 2018), 68.8 [V] in the paper's first version and for
# the released checkpoint. Marks, overrides and what differs: configs/advsemiseg/README.md.
_base_ = "../supervised/voc_1-8_advsemiseg.py"
model = dict(
    type="AdvSemiSeg",
    discriminator=dict(type="FCDiscriminator"),
)
optim_wrapper = dict(
    constructor="JointOptimWrapperConstructor",
    discriminator=dict(optimizer=dict(type="Adam", lr=1e-4, betas=(0.9, 0.99))),
)
train_dataloader = dict(
    batch_size=30,
    sampler=dict(num_per_source=dict(unlabeled=10, gt=10)),
    dataset=dict(sources=dict(gt=dict(pool="labeled", pipeline=_base_.gt_pipeline))),
)
auto_scale_lr = dict(base_batch_size=30)
