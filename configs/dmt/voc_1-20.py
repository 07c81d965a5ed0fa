# DMT on PASCAL VOC 2012 1/20, 530 labelled + 10,052 unlabelled images; 5 rounds of 4 x 1,436 = 5,744 iterations for each
# of two models, from MS-COCO and from ImageNet weights.
# Published: 69.92 mIoU [R].
_base_ = ["../_base_/data/voc_dst_cbc.py", "../_base_/methods/dmt.py"]
model = _base_.method
train_dataloader = dict(
    _base_.batch, dataset=dict(_base_.stored, split=dict(name="dstcbc_voc_1of20"))
)
optim_wrapper = dict(optimizer=dict(lr=0.001))
train_cfg = dict(max_iters=5744, num_validations=11)
baseline = dict(config="supervised/voc_1-20_dst_cbc")
self_training = dict(
    baseline=baseline,
    second=dict(baseline=dict(baseline, options=_base_.imagenet), options=_base_.imagenet),
)
