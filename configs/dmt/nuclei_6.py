# DMT on nuclei, 6 labelled images; 160 iterations of the baseline and 3 x 80 = 240 of the rounds for each model. Settings are ours.
_base_ = ["../_base_/data/nuclei.py", "../_base_/methods/dmt.py"]
model = dict(_base_.method, weight=dict(type="MutualWeight", gamma1=2, gamma2=2))
train_dataloader = dict(_base_.batch, sampler=dict(num_per_source=dict(labeled=4, unlabeled=0, pseudo=4)))
train_cfg = dict(max_iters=80, num_validations=2)
baseline = dict(config="supervised/nuclei_6", options={"train_cfg.max_iters": 160})
self_training = dict(_base_.plain, baseline=baseline, second=dict(baseline=baseline), ratios=(0.4, 0.7, 1.0))
