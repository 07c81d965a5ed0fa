# DMT on PASCAL VOC 2012 1/20, 530 labelled + 10,052 unlabelled images; 5 rounds of 4 x 1,436 = 5,744 iterations a model.
# Published: 69.92 mIoU [V].
_base_ = ["../_base_/data/voc_dst_cbc.py", "../_base_/methods/dmt.py"]
model = _base_.method
data = dict(_base_.stored, split=dict(name="dstcbc_voc_1of20"))
train_dataloader = dict(_base_.batch, dataset=data)
optim_wrapper = dict(optimizer=dict(lr=0.001))
train_cfg = dict(max_iters=5744, num_validations=11)
self_training = dict(baseline="supervised/voc_1-20_dst_cbc", second=_base_.from_imagenet)
