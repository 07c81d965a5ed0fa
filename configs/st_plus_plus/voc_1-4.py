# ST++ on PASCAL VOC 2012 1/4, 2,645 labelled + 7,937 unlabelled images; two rounds, of 46,240 and of 80 x 1,157 = 92,560 iterations.
# Published: 75.4 mIoU [Q] (README of STI; R50).
_base_ = ["../_base_/data/voc_st_plus_plus.py", "../_base_/methods/st_plus_plus.py"]
model = _base_.method
data = dict(_base_.stored, split=dict(name="cac_voc_2645_d0"))
train_dataloader = dict(_base_.batch, dataset=data)
train_cfg = dict(max_iters=92560)
self_training = dict(baseline="supervised/voc_1-4_st_plus_plus", iterations=(46240, 92560))
