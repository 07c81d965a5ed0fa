# ST++ on Cityscapes 1/30, 100 labelled + 2,875 unlabelled images; two rounds, of 43,920 and of 240 x 360 = 86,400 iterations.
# Published: none is at hand.
_base_ = ["../_base_/data/cityscapes_st_plus_plus.py", "../_base_/methods/st_plus_plus.py"]
model = _base_.method
data = dict(_base_.stored, split=dict(name="unimatch_city_1of30"))
train_dataloader = dict(_base_.batch, dataset=data)
train_cfg = dict(max_iters=86400)
self_training = dict(baseline="supervised/cityscapes_1-30_st_plus_plus", iterations=(43920, 86400))
