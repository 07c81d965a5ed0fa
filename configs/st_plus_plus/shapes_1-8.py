# ST++ on the built-in set, 32 of 256 masks; 300 iterations of the baseline and 2 x 450 = 900 of the rounds. Settings are ours.
_base_ = ["../_base_/data/shapes.py", "../_base_/methods/st_plus_plus.py"]
model = dict(_base_.method, strong=_base_.strong)
train_dataloader = _base_.eight
train_cfg = dict(max_iters=450, num_validations=3)
baseline = dict(config="supervised/shapes_1-8", options={"train_cfg.max_iters": 300})
self_training = dict(_base_.plain, baseline=baseline)
