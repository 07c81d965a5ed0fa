# DST-CBC on Cityscapes 1/4, 743 labelled + 2,232 unlabelled images; 5 rounds of 6 x 558 = 3,348 iterations. Settings of the rounds are those of VOC: none are published.
# Published: 64.4 mIoU [V] (half the size); mean of three folds, with squashed images (cityscapes_1-8_squashed.py).
_base_ = ["../_base_/data/cityscapes_dst_cbc.py", "../_base_/methods/dst_cbc.py"]
model = _base_.method
data = dict(_base_.stored, split=dict(name="dstcbc_city_1of4"))
train_dataloader = dict(_base_.batch, dataset=data)
train_cfg = dict(max_iters=3348, num_validations=3)
self_training = dict(baseline="supervised/cityscapes_1-4_dst_cbc")
