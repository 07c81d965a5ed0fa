# DST-CBC on Cityscapes 1/30, 100 labelled + 2,875 unlabelled images; 5 rounds of 6 x 719 = 4,314 iterations. Settings of the rounds are those of VOC: none are published.
# Published: 48.7 mIoU [V] (half the size); mean of three folds, with squashed images (cityscapes_1-8_squashed.py).
_base_ = ["../_base_/data/cityscapes_dst_cbc.py", "../_base_/methods/dst_cbc.py"]
model = _base_.method
data = dict(_base_.stored, split=dict(name="dstcbc_city_1of30"))
train_dataloader = dict(_base_.batch, dataset=data)
train_cfg = dict(max_iters=4314, num_validations=4)
self_training = dict(baseline="supervised/cityscapes_1-30_dst_cbc")
