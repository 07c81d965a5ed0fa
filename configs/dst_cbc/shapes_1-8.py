# DST-CBC on the built-in set, 32 of 256 masks; 480 iterations of the baseline and 3 x 240 = 720 of the rounds. Settings are ours.
_base_ = ["../_base_/data/shapes.py", "../_base_/methods/dst_cbc.py"]
model = dict(_base_.method, weight=dict(type="DynamicWeight", gamma=2))
train_dataloader = dict(_base_.batch, sampler=dict(num_per_source=dict(labeled=8, unlabeled=0, pseudo=8)))
train_cfg = dict(max_iters=240, num_validations=2)
baseline = dict(config="supervised/shapes_1-8", options={"train_cfg.max_iters": 480})
self_training = dict(_base_.plain, baseline=baseline, ratios=(0.4, 0.7, 1.0))
