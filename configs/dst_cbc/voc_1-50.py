# DST-CBC on PASCAL VOC 2012 1/50, 211 labelled + 10,371 unlabelled images; 5 rounds of 6 x 2,593 = 15,558 iterations.
# Published: 65.5 mIoU [V]; mean of three folds, with squashed images (voc_1-20_squashed.py).
_base_ = ["../_base_/data/voc_dst_cbc.py", "../_base_/methods/dst_cbc.py"]
model = _base_.method
data = dict(_base_.stored, split=dict(name="dstcbc_voc_1of50"))
train_dataloader = dict(_base_.batch, dataset=data)
train_cfg = dict(max_iters=15558, num_validations=16)
self_training = dict(baseline="supervised/voc_1-50_dst_cbc")
