# DST-CBC on CamVid 1/8, 45 labelled + 322 unlabelled images; 1600 iterations of the baseline and 3 x 800 = 2,400 of the rounds. Settings are ours.
_base_ = ["../_base_/data/camvid.py", "../_base_/methods/dst_cbc.py"]
model = dict(_base_.method, weight=dict(type="DynamicWeight", gamma=2))
train_dataloader = dict(_base_.batch, sampler=dict(num_per_source=dict(labeled=8, unlabeled=0, pseudo=8)))
train_cfg = dict(max_iters=800, num_validations=2)
baseline = dict(config="supervised/camvid_1-8", options={"train_cfg.max_iters": 1600})
self_training = dict(_base_.plain, baseline=baseline, ratios=(0.4, 0.7, 1.0))
