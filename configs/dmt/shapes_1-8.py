# DMT on the built-in set, 32 of 256 masks; for each model 720 iterations of the baseline and 3 x 160 = 480 of the rounds. Settings are ours.
_base_ = ["../_base_/data/shapes.py", "../_base_/methods/dmt.py"]
model = _base_.ours
train_dataloader = _base_.eight
train_cfg = dict(max_iters=160, num_validations=2)
baseline = dict(config="supervised/shapes_1-8", options={"train_cfg.max_iters": 720})
self_training = dict(_base_.plain, baseline=baseline, second=dict(baseline=baseline))
