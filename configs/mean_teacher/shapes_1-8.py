# Mean teacher on the built-in set: the baseline's labels, schedule and net.
_base_ = "../supervised/shapes_1-8.py"
model = dict(type="MeanTeacher", semi_train_cfg=dict(rampup_iters=500))
train_dataloader = dict(batch_size=16, sampler=dict(num_per_source=dict(unlabeled=8)))
