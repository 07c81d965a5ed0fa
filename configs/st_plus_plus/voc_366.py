# ST++ on PASCAL VOC 2012, 366 labelled + 10,216 unlabelled images; two rounds, of 51,120 and of 80 x 1,279 = 102,320 iterations.
# Published: 74.6 mIoU [Q] (README of UniMatch; R101).
_base_ = ["../_base_/data/voc_st_plus_plus.py", "../_base_/methods/st_plus_plus.py"]
model = dict(_base_.method, segmentor=_base_.r101)
data = dict(_base_.stored, split=dict(name="classic_voc_366"))
train_dataloader = dict(_base_.batch, dataset=data)
train_cfg = dict(max_iters=102320)
self_training = dict(baseline="supervised/voc_366_st_plus_plus", iterations=(51120, 102320))
