# ST++ on PASCAL VOC 2012 1/16, 662 labelled + 9,920 unlabelled images; two rounds, of 51,280 and of 80 x 1,240 = 99,200 iterations.
# Published: 72.6 mIoU [Q] (README of STI; R50).
_base_ = ["../_base_/data/voc_st_plus_plus.py", "../_base_/methods/st_plus_plus.py"]
model = _base_.method
data = dict(_base_.stored, split=dict(name="cac_voc_662_d0"))
train_dataloader = dict(_base_.batch, dataset=data)
train_cfg = dict(max_iters=99200)
self_training = dict(baseline="supervised/voc_1-16_st_plus_plus", iterations=(51280, 99200))
