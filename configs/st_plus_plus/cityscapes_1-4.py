# ST++ on Cityscapes 1/4, 744 labelled + 2,231 unlabelled images; two rounds, of 38,880 and of 240 x 278 = 66,720 iterations.
# Published: none is at hand.
_base_ = ["../_base_/data/cityscapes_st_plus_plus.py", "../_base_/methods/st_plus_plus.py"]
model = _base_.method
data = dict(_base_.stored, split=dict(name="cac_city_744_d0"))
train_dataloader = dict(_base_.batch, dataset=data)
train_cfg = dict(max_iters=66720)
self_training = dict(baseline="supervised/cityscapes_1-4_st_plus_plus", iterations=(38880, 66720))
