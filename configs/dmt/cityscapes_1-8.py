# DMT on Cityscapes 1/8, 371 labelled + 2,604 unlabelled images; 5 rounds of 10 x 434 = 4,340 iterations a model.
# Published: 63.03 mIoU [V] (half the size).
_base_ = ["../_base_/data/cityscapes_dst_cbc.py", "../_base_/methods/dmt.py"]
model = _base_.on_cityscapes
data = dict(_base_.stored, split=dict(name="dstcbc_city_1of8"))
train_dataloader = dict(_base_.city_batch, dataset=data)
train_cfg = dict(max_iters=4340, num_validations=14)
self_training = dict(baseline="supervised/cityscapes_1-8_dst_cbc", second=_base_.from_imagenet)
