# DMT on PASCAL VOC 2012 1/8, 1,322 labelled + 9,260 unlabelled images; 5 rounds of 4 x 1,323 = 5,292 iterations a model.
# Published: 72.70 mIoU [V]; its script is not, these are the settings of 1/20.
_base_ = ["../_base_/data/voc_dst_cbc.py", "../_base_/methods/dmt.py"]
model = _base_.method
data = dict(_base_.stored, split=dict(name="dstcbc_voc_1of8"))
train_dataloader = dict(_base_.batch, dataset=data)
optim_wrapper = dict(optimizer=dict(lr=0.001))
train_cfg = dict(max_iters=5292, num_validations=11)
self_training = dict(baseline="supervised/voc_1-8_dst_cbc", second=_base_.from_imagenet)
