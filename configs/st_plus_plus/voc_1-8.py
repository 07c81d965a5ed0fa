# ST++ on PASCAL VOC 2012 1/8, 1,323 labelled + 9,259 unlabelled images; two rounds, of 49,600 and of 80 x 1,157 = 92,560 iterations.
# Published: 74.4 mIoU [Q] (README of STI; R50).
_base_ = ["../_base_/data/voc_st_plus_plus.py", "../_base_/methods/st_plus_plus.py"]
model = _base_.method
data = dict(_base_.stored, split=dict(name="cac_voc_1323_d0"))
train_dataloader = dict(_base_.batch, dataset=data)
train_cfg = dict(max_iters=92560)
self_training = dict(baseline="supervised/voc_1-8_st_plus_plus", iterations=(49600, 92560))
