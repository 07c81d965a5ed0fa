# DMT on CamVid 1/8, 45 labelled + 322 unlabelled images; 1600 iterations of the baseline and 3 x 800 = 2,400 of the rounds for each model. Settings are ours.
_base_ = ["../_base_/data/camvid.py", "../_base_/methods/dmt.py"]
model = _base_.ours
train_dataloader = _base_.eight
train_cfg = dict(max_iters=800, num_validations=2)
baseline = dict(config="supervised/camvid_1-8", options={"train_cfg.max_iters": 1600})
self_training = dict(_base_.plain, baseline=baseline, second=dict(baseline=baseline))
