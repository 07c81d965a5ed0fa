# AdvSemiSeg as voc_1-8.py, with about the learning rates that the released code has in effect (_base_/models/deeplabv2_r101.py).
# Published: the numbers of voc_1-8.py; say which of the two a result used.
_base_ = ["../_base_/data/voc_advsemiseg.py", "../_base_/methods/advsemiseg.py"]
model = _base_.method
optim_wrapper = dict(_base_.optimizers, paramwise_cfg=_base_.legacy_lr)
train_dataloader = dict(dataset=dict(split=dict(ratio=1 / 8)))
