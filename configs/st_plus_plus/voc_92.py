# ST++ on PASCAL VOC 2012, 92 labelled + 10,490 unlabelled images; two rounds, of 52,880 and of 80 x 1,316 = 105,280 iterations.
# Published: 65.2 mIoU [Q] (README of UniMatch; R101).
_base_ = ["../_base_/data/voc_st_plus_plus.py", "../_base_/methods/st_plus_plus.py"]
model = dict(_base_.method, segmentor=_base_.r101)
data = dict(_base_.stored, split=dict(name="classic_voc_92"))
train_dataloader = dict(_base_.batch, dataset=data)
train_cfg = dict(max_iters=105280)
self_training = dict(baseline="supervised/voc_92_st_plus_plus", iterations=(52880, 105280))
