# Mean teacher on the built-in set: the baseline's labels, schedule and net.
_base_ = "../supervised/shapes_1-8.py"
model = dict(
    type="MeanTeacher",
    # The released code shows both networks the same image; from random weights that holds the student
    # back (see the README), so the student gets a strong view here. No blur: the classes differ in
    # textures of a few pixels, which it would wipe out.
    data_preprocessor=dict(strong=dict(type="StrongPhotometric", p_blur=0.0)),
    # 1,200 iterations: a teacher that follows faster than in 40,000.
    semi_train_cfg=dict(
        unsup_weight=10.0, rampup_iters=500, consistency_on_labeled=False, momentum=0.02
    ),
)
train_dataloader = dict(batch_size=16, sampler=dict(num_per_source=dict(unlabeled=8)))
