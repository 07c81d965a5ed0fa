# DST-CBC on PASCAL VOC 2012 1/20, 530 labelled + 10,052 unlabelled images; 5 rounds of 6 x 2,513 = 15,078 iterations.
# Published: 69.3 mIoU [V]; mean of three folds, with squashed images (voc_1-20_squashed.py).
_base_ = ["../_base_/data/voc_dst_cbc.py", "../_base_/methods/dst_cbc.py"]
model = _base_.method
data = dict(_base_.stored, split=dict(name="dstcbc_voc_1of20"))
train_dataloader = dict(_base_.batch, dataset=data)
train_cfg = dict(max_iters=15078, num_validations=15)
self_training = dict(baseline="supervised/voc_1-20_dst_cbc")
