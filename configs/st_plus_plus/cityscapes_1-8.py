# ST++ on Cityscapes 1/8, 372 labelled + 2,603 unlabelled images; two rounds, of 41,760 and of 240 x 325 = 78,000 iterations.
# Published: none is at hand.
_base_ = ["../_base_/data/cityscapes_st_plus_plus.py", "../_base_/methods/st_plus_plus.py"]
model = _base_.method
data = dict(_base_.stored, split=dict(name="cac_city_372_d0"))
train_dataloader = dict(_base_.batch, dataset=data)
train_cfg = dict(max_iters=78000)
self_training = dict(baseline="supervised/cityscapes_1-8_st_plus_plus", iterations=(41760, 78000))
