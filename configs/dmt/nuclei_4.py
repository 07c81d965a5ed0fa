# DMT on nuclei, 4 labelled images; 160 iterations of the baseline and 3 x 80 = 240 of the rounds for each model. Settings are ours.
_base_ = ["../_base_/data/nuclei.py", "../_base_/methods/dmt.py"]
model = _base_.ours
train_dataloader = _base_.four
train_cfg = dict(max_iters=80, num_validations=2)
baseline = dict(config="supervised/nuclei_4", options={"train_cfg.max_iters": 160})
self_training = dict(_base_.plain, baseline=baseline, second=dict(baseline=baseline))
