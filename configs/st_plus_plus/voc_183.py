# ST++ on PASCAL VOC 2012, 183 labelled + 10,399 unlabelled images; two rounds, of 52,480 and of 80 x 1,301 = 104,080 iterations.
# Published: 71.0 mIoU [Q] (README of UniMatch; R101).
_base_ = ["../_base_/data/voc_st_plus_plus.py", "../_base_/methods/st_plus_plus.py"]
model = dict(_base_.method, segmentor=_base_.r101)
data = dict(_base_.stored, split=dict(name="classic_voc_183"))
train_dataloader = dict(_base_.batch, dataset=data)
train_cfg = dict(max_iters=104080)
self_training = dict(baseline="supervised/voc_183_st_plus_plus", iterations=(52480, 104080))
