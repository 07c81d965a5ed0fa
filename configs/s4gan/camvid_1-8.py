# s4GAN on CamVid, 1/8 of the labels: the baseline's labels, schedule and net.
# One GPU: 8 labelled + 8 unlabelled images + 8 ground-truth maps, 4,000 iterations. Settings are
# ours.
_base_ = "../supervised/camvid_1-8.py"
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
