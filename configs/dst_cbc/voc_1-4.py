# DST-CBC on PASCAL VOC 2012 1/4, 2,645 labelled + 7,937 unlabelled images; 5 rounds of 6 x 1,985 = 11,910 iterations.
# Published: 71.8 mIoU [V]; mean of three folds, with squashed images (voc_1-20_squashed.py).
_base_ = ["../_base_/data/voc_dst_cbc.py", "../_base_/methods/dst_cbc.py"]
model = _base_.method
data = dict(_base_.stored, split=dict(name="dstcbc_voc_1of4"))
train_dataloader = dict(_base_.batch, dataset=data)
train_cfg = dict(max_iters=11910, num_validations=12)
self_training = dict(baseline="supervised/voc_1-4_dst_cbc")
