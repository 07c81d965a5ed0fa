# AdvSemiSeg as cityscapes_1-8.py, scored against the masks at full resolution, as mmseg does; for tools/test.py and a checkpoint of any cityscapes_*.py here.
_base_ = ["../_base_/data/cityscapes_advsemiseg.py", "../_base_/methods/advsemiseg.py"]
model = _base_.method
optim_wrapper = _base_.optimizers
train_dataloader = dict(dataset=dict(split=dict(ratio=1 / 8)))
test_dataloader = dict(dataset=dict(pipeline=_base_.test_pipeline))
