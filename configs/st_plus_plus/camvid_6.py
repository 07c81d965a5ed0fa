# ST++ on CamVid, 6 labelled images; 120 iterations of the baseline and 2 x 240 = 480 of the rounds. Settings are ours.
_base_ = ["../_base_/data/camvid_lite0.py", "../_base_/methods/st_plus_plus.py"]
model = _base_.method
train_dataloader = _base_.four
train_cfg = dict(max_iters=240, num_validations=2)
baseline = dict(config="supervised/camvid_6", options={"train_cfg.max_iters": 120})
# As published five scales label each image, for 16 times the work.
self_training = dict(_base_.plain, baseline=baseline, labels=dict(scales=(1.0,)))
