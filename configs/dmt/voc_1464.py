# DMT on PASCAL VOC 2012, 1,464 labelled + 9,118 unlabelled images; 5 rounds of 5 x 1,303 = 6,515 iterations a model.
# Published: 74.85 mIoU [V].
_base_ = ["../_base_/data/voc_dst_cbc.py", "../_base_/methods/dmt.py"]
model = _base_.method
data = dict(_base_.stored, split=dict(name="classic_voc_1464", fold=None))
train_dataloader = dict(_base_.batch, dataset=data)
optim_wrapper = dict(optimizer=dict(lr=0.001))
train_cfg = dict(max_iters=6515, num_validations=13)
self_training = dict(baseline="supervised/voc_1464_dst_cbc", second=_base_.from_imagenet)
