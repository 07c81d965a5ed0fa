# DMT on PASCAL VOC 2012 1/50, 211 labelled + 10,371 unlabelled images; 5 rounds of 4 x 1,482 = 5,928 iterations a model.
# Published: 67.15 mIoU [V].
_base_ = ["../_base_/data/voc_dst_cbc.py", "../_base_/methods/dmt.py"]
model = _base_.method
data = dict(_base_.stored, split=dict(name="dstcbc_voc_1of50"))
train_dataloader = dict(_base_.batch, dataset=data)
optim_wrapper = dict(optimizer=dict(lr=0.001))
train_cfg = dict(max_iters=5928, num_validations=12)
self_training = dict(baseline="supervised/voc_168_left_dst_cbc", second=_base_.right_168)
