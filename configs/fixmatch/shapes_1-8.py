# FixMatch with an EMA teacher on the built-in set: the baseline's labels, schedule and net.
_base_ = "../supervised/shapes_1-8.py"
model = dict(
    type="FixMatch",
    data_preprocessor=dict(
        # No blur: the classes differ in textures of a few pixels, which it would wipe out.
        strong=dict(type="StrongPhotometric", p_blur=0.0),
        mix=dict(type="SingleBoxCutMix", pairing="permute"),
    ),
    # 1,200 iterations from random weights: a teacher that follows faster, and a lower threshold.
    semi_train_cfg=dict(labels_from="teacher", threshold=0.7, rampup_iters=500, momentum=0.02),
)
train_dataloader = dict(batch_size=16, sampler=dict(num_per_source=dict(unlabeled=8)))
