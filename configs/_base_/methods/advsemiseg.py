# AdvSemiSeg (Hung et al., BMVC 2018). Both networks step after one backward.
method = dict(type="AdvSemiSeg", discriminator=dict(type="FCDiscriminator"))
optimizers = dict(
    constructor="JointOptimWrapperConstructor",
    discriminator=dict(optimizer=dict(type="Adam", lr=1e-4, betas=(0.9, 0.99))),
)
# For the narrow net of the built-in set.
narrow = dict(type="FCDiscriminator", base_channels=16)
# docs/adversarial_walkthrough.md: the discriminator takes part from the start and judges labelled images only.
walkthrough = dict(
    method, discriminator=narrow, unsup_start=0, unsup_adv_weight=0.0, judge_unlabeled=False
)
