# DMT on PASCAL VOC 2012 1/8, 1,322 labelled + 9,260 unlabelled images; 5 rounds of 4 x 1,323 = 5,292 iterations for each
# of two models, from MS-COCO and from ImageNet weights. Its script is not published; as for 1/20.
# Published: 72.7 mIoU [R].
_base_ = ["../_base_/data/voc_dst_cbc.py", "../_base_/methods/dmt.py"]
model = _base_.method
train_dataloader = dict(
    _base_.batch, dataset=dict(_base_.stored, split=dict(name="dstcbc_voc_1of8"))
)
optim_wrapper = dict(optimizer=dict(lr=0.001))
train_cfg = dict(max_iters=5292, num_validations=11)
baseline = dict(config="supervised/voc_1-8_dst_cbc")
self_training = dict(
    baseline=baseline,
    second=dict(baseline=dict(baseline, options=_base_.imagenet), options=_base_.imagenet),
)
