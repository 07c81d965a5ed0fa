# cityscapes_1-8.py as the table of DST-CBC was made, images squashed; 371 labelled + 2,604 unlabelled images; 5 rounds of 6 x 651 = 3,906 iterations.
# Published: 60.5 mIoU [V] (half the size); mean of three folds.
_base_ = ["../_base_/data/cityscapes_dst_cbc.py", "../_base_/methods/dst_cbc.py"]
model = _base_.method
data = dict(_base_.stored, split=dict(name="dstcbc_city_1of8"), **_base_.squashed)
train_dataloader = dict(_base_.batch, dataset=data)
train_cfg = dict(max_iters=3906, num_validations=4)
self_training = dict(baseline="supervised/cityscapes_1-8_squashed_dst_cbc", labels=_base_.squeeze)
