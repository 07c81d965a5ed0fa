# UniMatch V1 on the built-in set: the baseline's labels, schedule and net.
_base_ = "../supervised/shapes_1-8.py"
model = dict(
    type="UniMatch",
    data_preprocessor=dict(
        num_student_views=2,
        # No blur: the classes differ in textures of a few pixels, which it would wipe out.
        strong=dict(type="StrongPhotometric", p_blur=0.0),
        mix=dict(type="SingleBoxCutMix", pairing="permute"),
    ),
    # From random weights: a ramp-up. Batch-norm statistics that labelled images share with the weak
    # views cost 8 points here, even without any unsupervised loss (README, Results).
    semi_train_cfg=dict(rampup_iters=500, labeled_forward="alone"),
)
train_dataloader = dict(batch_size=16, sampler=dict(num_per_source=dict(unlabeled=8)))
