# DST-CBC on PASCAL VOC 2012 1/8, 1,322 labelled + 9,260 unlabelled images; 5 rounds of 6 x 2,315 = 13,890 iterations.
# Published: 70.7 mIoU [V]; mean of three folds, with squashed images (voc_1-20_squashed.py).
_base_ = ["../_base_/data/voc_dst_cbc.py", "../_base_/methods/dst_cbc.py"]
model = _base_.method
data = dict(_base_.stored, split=dict(name="dstcbc_voc_1of8"))
train_dataloader = dict(_base_.batch, dataset=data)
train_cfg = dict(max_iters=13890, num_validations=14)
self_training = dict(baseline="supervised/voc_1-8_dst_cbc")
