# s4GAN as context_full.py, with MLMT in its tests: predictions lose the classes that the classifier of mlmt/context_full.py gives less than 0.2.
# Published: 41.1 mIoU [R] (recalled, unverified).
_base_ = ["../_base_/data/context_s4gan.py", "../_base_/methods/s4gan.py"]
model = _base_.method
optim_wrapper = _base_.optimizers
train_dataloader = dict(dataset=dict(split=None, unlabeled=dict(pool="all")))
gate = dict(classifier="configs/mlmt/context_full.py", threshold=0.2)
val_evaluator = test_evaluator = [_base_.val_evaluator, dict(type="GatedIoUMetric", gate=gate)]
