# DST-CBC on Cityscapes 1/8, 371 labelled + 2,604 unlabelled images; 5 rounds of 6 x 651 = 3,906 iterations. Settings of the rounds are those of VOC: none are published.
# Published: 60.5 mIoU [V] (half the size); mean of three folds, with squashed images (cityscapes_1-8_squashed.py).
_base_ = ["../_base_/data/cityscapes_dst_cbc.py", "../_base_/methods/dst_cbc.py"]
model = _base_.method
data = dict(_base_.stored, split=dict(name="dstcbc_city_1of8"))
train_dataloader = dict(_base_.batch, dataset=data)
train_cfg = dict(max_iters=3906, num_validations=4)
self_training = dict(baseline="supervised/cityscapes_1-8_dst_cbc")
