# CAC on the built-in set, 32 of 256 masks; 1,200 iterations from random weights. The classes differ in textures, so nothing is blurred.
_base_ = ["../_base_/data/shapes.py", "../_base_/methods/cac.py"]
model = dict(_base_.method, strong=_base_.strong, start_iter=300, rampup_iters=500)
train_dataloader = dict(dataset=dict(unlabeled=dict(pipeline=_base_.pair_pipeline)))
