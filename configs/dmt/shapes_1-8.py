# DMT on the built-in set, 32 of 256 masks; for each model 480 iterations of the baseline and 3 x 240 = 720 of the rounds. Settings are ours.
_base_ = ["../_base_/data/shapes.py", "../_base_/methods/dmt.py"]
model = dict(_base_.method, weight=dict(type="MutualWeight", gamma1=2, gamma2=2))
train_dataloader = dict(_base_.batch, sampler=dict(num_per_source=dict(labeled=8, unlabeled=0, pseudo=8)))
train_cfg = dict(max_iters=240, num_validations=2)
halves = [dict(config="supervised/shapes_1-8", options={"train_cfg.max_iters": 480, "train_dataloader.dataset.split": dict(type="OverlappingPart", split=dict(type="RatioSplit", ratio=1 / 8, seed=0), side=side)}) for side in ("left", "right")]
self_training = dict(_base_.plain, baseline=halves[0], second=dict(baseline=halves[1]), ratios=(0.4, 0.7, 1.0))
