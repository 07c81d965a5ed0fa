# AdvSemiSeg on Cityscapes 1/8 (371 labelled, 2,604 unlabelled), half resolution, DeepLabv2 R101
# from MS-COCO weights.
#   python tools/train.py configs/advsemiseg/cityscapes_1-8.py
# Weights, labelled images and evaluation: the header of
# configs/supervised/cityscapes_1-8_advsemiseg.py.
# One GPU: 2 labelled + 2 unlabelled images + 2 ground-truth maps of 512 x 1024, SGD lr 2.5e-4 (head
# 2.5e-3), weight decay 5e-4, discriminator Adam lr 1e-4, both poly 0.9, 40,000 iterations;
# pseudo-labels from 5,000 on. The paper gives batch and iterations; there is no code for
# Cityscapes.
# Published: 58.8 mIoU [Q] (Hung et al., BMVC 2018), in the paper's first version 54.2 [V]. Marks,
# overrides and what differs: configs/advsemiseg/README.md.
_base_ = "../supervised/cityscapes_1-8_advsemiseg.py"
model = dict(
    type="AdvSemiSeg",
    discriminator=dict(type="FCDiscriminator"),
)
optim_wrapper = dict(
    constructor="JointOptimWrapperConstructor",
    discriminator=dict(optimizer=dict(type="Adam", lr=1e-4, betas=(0.9, 0.99))),
)
train_dataloader = dict(
    batch_size=6,
    sampler=dict(num_per_source=dict(unlabeled=2, gt=2)),
    dataset=dict(sources=dict(gt=dict(pool="labeled", pipeline=_base_.sup_pipeline))),
)
auto_scale_lr = dict(base_batch_size=6)
