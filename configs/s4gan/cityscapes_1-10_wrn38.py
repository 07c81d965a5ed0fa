# s4GAN on Cityscapes 1/10 (297 labelled, 2,678 unlabelled), half resolution, DeepLabv3+ with Wide
# ResNet-38, crop 256 x 512.
#   python tools/train.py configs/s4gan/cityscapes_1-10_wrn38.py
# Weights, labelled images and evaluation: the header of
# configs/supervised/cityscapes_1-10_wrn38_s4gan.py.
# One GPU: 8 labelled + 8 unlabelled images + 8 ground-truth maps, SGD lr 1e-3 (all but the trunk
# 1e-2), weight decay 5e-4, discriminator Adam lr 1e-5, both poly 0.9, 40,000 iterations, threshold
# 0.55.
# No number is published for this net; the released script cannot run, the settings are read from
# it.
_base_ = "../supervised/cityscapes_1-10_wrn38_s4gan.py"
model = dict(
    type="S4GAN",
    discriminator=dict(type="S4GANDiscriminator"),
    semi_train_cfg=dict(threshold=0.55),
)
optim_wrapper = dict(
    constructor="JointOptimWrapperConstructor",
    discriminator=dict(optimizer=dict(type="Adam", lr=1e-5, betas=(0.9, 0.99))),
)
train_dataloader = dict(
    batch_size=24,
    sampler=dict(num_per_source=dict(unlabeled=8, gt=8)),
    dataset=dict(sources=dict(gt=dict(pool="labeled", pipeline=_base_.sup_pipeline))),
)
auto_scale_lr = dict(base_batch_size=24)
