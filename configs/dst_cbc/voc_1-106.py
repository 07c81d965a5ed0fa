# DST-CBC on PASCAL VOC 2012 1/106, 100 labelled + 10,482 unlabelled images; 5 rounds of 6 x 2,621 = 15,726 iterations.
# Published: 61.6 mIoU [V]; mean of three folds, with squashed images (voc_1-20_squashed.py).
_base_ = ["../_base_/data/voc_dst_cbc.py", "../_base_/methods/dst_cbc.py"]
model = _base_.method
data = dict(_base_.stored, split=dict(name="dstcbc_voc_1of106"))
train_dataloader = dict(_base_.batch, dataset=data)
train_cfg = dict(max_iters=15726, num_validations=16)
self_training = dict(baseline="supervised/voc_1-106_dst_cbc")
