# ST++ on nuclei, 4 labelled images; 80 iterations of the baseline and 2 x 160 = 320 of the rounds. Settings are ours.
_base_ = ["../_base_/data/nuclei.py", "../_base_/methods/st_plus_plus.py"]
model = _base_.method
train_dataloader = _base_.four
train_cfg = dict(max_iters=160, num_validations=2)
baseline = dict(config="supervised/nuclei_4", options={"train_cfg.max_iters": 80})
# As published five scales label each image, for 16 times the work.
self_training = dict(_base_.plain, baseline=baseline, labels=dict(scales=(1.0,)))
