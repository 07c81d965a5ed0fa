# s4GAN as shapes_1-8.py, with MLMT in its tests: predictions lose the classes that the classifier of mlmt/shapes_1-8.py gives less than 0.2.
_base_ = ["../_base_/data/shapes.py", "../_base_/methods/s4gan.py"]
model = dict(_base_.method, discriminator=_base_.narrow)
optim_wrapper = _base_.optimizers
train_dataloader = dict(dataset=dict(sources=dict(gt=_base_.gt)))
train_dataloader["sampler"] = dict(num_per_source=dict(gt=8))
gate = dict(classifier="configs/mlmt/shapes_1-8.py", threshold=0.2)
val_evaluator = test_evaluator = [_base_.val_evaluator, dict(type="GatedIoUMetric", gate=gate)]
