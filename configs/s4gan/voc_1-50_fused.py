# s4GAN as voc_1-50.py, with MLMT in its tests: predictions lose the classes that the classifier of mlmt/voc_1-50.py gives less than 0.2.
# Published: 60.4 mIoU [R] (recalled, unverified).
_base_ = ["../_base_/data/voc_s4gan.py", "../_base_/methods/s4gan.py"]
model = _base_.method
optim_wrapper = _base_.optimizers
train_dataloader = dict(dataset=dict(split=dict(name="s4gan_voc_1of50")))
gate = dict(classifier="configs/mlmt/voc_1-50.py", threshold=0.2)
val_evaluator = test_evaluator = [_base_.val_evaluator, dict(type="GatedIoUMetric", gate=gate)]
