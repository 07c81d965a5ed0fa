# DST-CBC on CamVid, 6 labelled images; 240 iterations of the baseline and 3 x 120 = 360 of the rounds. Settings are ours.
_base_ = ["../_base_/data/camvid_lite0.py", "../_base_/methods/dst_cbc.py"]
model = _base_.ours
train_dataloader = _base_.four
train_cfg = dict(max_iters=120, num_validations=2)
baseline = dict(config="supervised/camvid_6", options={"train_cfg.max_iters": 240})
self_training = dict(_base_.plain, baseline=baseline)
