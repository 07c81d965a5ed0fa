# ST++ on PASCAL VOC 2012, 1,464 labelled + 9,118 unlabelled images; two rounds, of 52,000 and of 80 x 1,210 = 96,800 iterations.
# Published: 79.1 mIoU [Q] (README of UniMatch; R101).
_base_ = ["../_base_/data/voc_st_plus_plus.py", "../_base_/methods/st_plus_plus.py"]
model = dict(_base_.method, segmentor=_base_.r101)
data = dict(_base_.stored, split=dict(name="classic_voc_1464"))
train_dataloader = dict(_base_.batch, dataset=data)
train_cfg = dict(max_iters=96800)
self_training = dict(baseline="supervised/voc_1464_st_plus_plus", iterations=(52000, 96800))
