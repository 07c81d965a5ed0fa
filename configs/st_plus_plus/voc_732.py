# ST++ on PASCAL VOC 2012, 732 labelled + 9,850 unlabelled images; two rounds, of 50,240 and of 80 x 1,256 = 100,480 iterations.
# Published: 77.3 mIoU [Q] (README of UniMatch; R101).
_base_ = ["../_base_/data/voc_st_plus_plus.py", "../_base_/methods/st_plus_plus.py"]
model = dict(_base_.method, segmentor=_base_.r101)
data = dict(_base_.stored, split=dict(name="classic_voc_732"))
train_dataloader = dict(_base_.batch, dataset=data)
train_cfg = dict(max_iters=100480)
self_training = dict(baseline="supervised/voc_732_st_plus_plus", iterations=(50240, 100480))
