# s4GAN as voc_1-8_coco.py, with MLMT in its tests: predictions lose the classes that the classifier of mlmt/voc_1-8.py gives less than 0.2.
# Published: 71.4 mIoU [Q].
_base_ = ["../_base_/data/voc_s4gan.py", "../_base_/methods/s4gan.py"]
model = dict(_base_.method, data_preprocessor=_base_.coco_input, segmentor=_base_.coco)
optim_wrapper = _base_.optimizers
train_dataloader = dict(dataset=dict(split=dict(name="s4gan_voc_1of8")))
gate = dict(classifier="configs/mlmt/voc_1-8.py", threshold=0.2)
val_evaluator = test_evaluator = [_base_.val_evaluator, dict(type="GatedIoUMetric", gate=gate)]
