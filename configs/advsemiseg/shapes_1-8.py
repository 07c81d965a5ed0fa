# AdvSemiSeg on the built-in set: the baseline's labels, schedule and net. Not tuned.
_base_ = "../supervised/shapes_1-8.py"
model = dict(
    type="AdvSemiSeg",
    discriminator=dict(type="FCDiscriminator", base_channels=16),  # narrow, like the net
    semi_train_cfg=dict(unsup_start=300),  # a quarter of the run, as published
)
optim_wrapper = dict(
    constructor="JointOptimWrapperConstructor",
    discriminator=dict(optimizer=dict(type="Adam", lr=1e-4, betas=(0.9, 0.99))),
)
train_dataloader = dict(
    batch_size=24,
    sampler=dict(num_per_source=dict(unlabeled=8, gt=8)),
    dataset=dict(sources=dict(gt=dict(pool="labeled", pipeline=_base_.gt_pipeline))),
)
