# s4GAN as cityscapes_1-8.py, scored against the masks at full resolution, as mmseg does; for tools/test.py and a checkpoint of cityscapes_1-8.py or cityscapes_1-4.py.
_base_ = ["../_base_/data/cityscapes_s4gan.py", "../_base_/methods/s4gan.py"]
model = dict(_base_.method, threshold=0.7)
optim_wrapper = _base_.slow_discriminator
train_dataloader = dict(dataset=dict(split=dict(ratio=1 / 8)))
test_dataloader = dict(dataset=dict(pipeline=_base_.test_pipeline))
