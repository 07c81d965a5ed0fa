# ST++ on CamVid 1/8, 45 labelled + 322 unlabelled images; 800 iterations of the baseline and 2 x 1600 = 3,200 of the rounds. Settings are ours.
_base_ = ["../_base_/data/camvid.py", "../_base_/methods/st_plus_plus.py"]
model = _base_.method
train_dataloader = _base_.eight
train_cfg = dict(max_iters=1600, num_validations=2)
baseline = dict(config="supervised/camvid_1-8", options={"train_cfg.max_iters": 800})
self_training = dict(_base_.plain, baseline=baseline)
