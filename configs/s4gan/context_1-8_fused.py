# s4GAN as context_1-8.py, with MLMT in its tests: predictions lose the classes that the classifier of mlmt/context_1-8.py gives less than 0.2.
# Published: 35.3 mIoU [R] (recalled, unverified).
_base_ = ["../_base_/data/context_s4gan.py", "../_base_/methods/s4gan.py"]
model = _base_.method
optim_wrapper = _base_.optimizers
train_dataloader = dict(dataset=dict(split=dict(ratio=1 / 8)))
gate = dict(classifier="configs/mlmt/context_1-8.py", threshold=0.2)
val_evaluator = test_evaluator = [_base_.val_evaluator, dict(type="GatedIoUMetric", gate=gate)]
