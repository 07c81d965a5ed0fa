# s4GAN on PASCAL VOC 2012 train_aug 1/8 (1,322 labelled, 9,260 unlabelled, split 0), DeepLabv2 R101
# from torchvision's ImageNet weights, crop 321.
#   python tools/train.py configs/s4gan/voc_1-8.py
# Labelled list, input and evaluation: the header of configs/supervised/voc_1-8_s4gan.py.
# One GPU: 8 labelled + 8 unlabelled images + 8 ground-truth maps, SGD lr 2.5e-4 (head 2.5e-3),
# weight decay 5e-4, discriminator Adam lr 1e-4, both poly 0.9, 40,000 iterations, threshold 0.6.
# Published: 65.4 mIoU [A] (Mittal et al., TPAMI 2021; mean of 3 splits), with MLMT
# (voc_1-8_fused.py) 67.3 [R]. The released commands evaluate iteration 30,000, which the log has as
# well. Marks, overrides and what differs: configs/s4gan/README.md.
_base_ = "../supervised/voc_1-8_s4gan.py"
model = dict(
    type="S4GAN",
    discriminator=dict(type="S4GANDiscriminator"),
)
optim_wrapper = dict(
    constructor="JointOptimWrapperConstructor",
    discriminator=dict(optimizer=dict(type="Adam", lr=1e-4, betas=(0.9, 0.99))),
)
train_dataloader = dict(
    batch_size=24,
    sampler=dict(num_per_source=dict(unlabeled=8, gt=8)),
    dataset=dict(sources=dict(gt=dict(pool="labeled", pipeline=_base_.sup_pipeline))),
)
auto_scale_lr = dict(base_batch_size=24)
