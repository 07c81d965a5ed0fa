# DMT on Cityscapes 1/8, 371 labelled + 2,604 unlabelled images; 5 rounds of 10 x 434 = 4,340 iterations for each
# of two models, from MS-COCO and from ImageNet weights.
# Published: 63.03 (half the size) mIoU [R].
_base_ = ["../_base_/data/cityscapes_dst_cbc.py", "../_base_/methods/dmt.py"]
model = _base_.on_cityscapes
train_dataloader = dict(
    _base_.city_batch, dataset=dict(_base_.stored, split=dict(name="dstcbc_city_1of8"))
)
optim_wrapper = dict(optimizer=dict(lr=0.004))
train_cfg = dict(max_iters=4340, num_validations=14)
baseline = dict(config="supervised/cityscapes_1-8_dst_cbc")
self_training = dict(
    baseline=baseline,
    second=dict(baseline=dict(baseline, options=_base_.imagenet), options=_base_.imagenet),
)
