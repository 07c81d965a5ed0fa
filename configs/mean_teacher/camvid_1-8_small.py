# Mean teacher on CamVid at the size for a CPU: the small baseline's labels, schedule and net, 4
# labelled + 4 unlabelled images.
_base_ = "../supervised/camvid_1-8_small.py"
model = dict(type="MeanTeacher", semi_train_cfg=dict(rampup_iters=250))
train_dataloader = dict(batch_size=8, sampler=dict(num_per_source=dict(unlabeled=4)))
