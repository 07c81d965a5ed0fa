# DMT on PASCAL VOC 2012, 1,464 labelled + 9,118 unlabelled images; 5 rounds of 5 x 1,303 = 6,515 iterations for each
# of two models, from MS-COCO and from ImageNet weights.
# Published: 74.85 mIoU [R].
_base_ = ["../_base_/data/voc_dst_cbc.py", "../_base_/methods/dmt.py"]
model = _base_.method
train_dataloader = dict(
    _base_.batch, dataset=dict(_base_.stored, split=dict(name="classic_voc_1464", fold=None))
)
optim_wrapper = dict(optimizer=dict(lr=0.001))
train_cfg = dict(max_iters=6515, num_validations=13)
baseline = dict(config="supervised/voc_1464_dst_cbc")
self_training = dict(
    baseline=baseline,
    second=dict(baseline=dict(baseline, options=_base_.imagenet), options=_base_.imagenet),
)
