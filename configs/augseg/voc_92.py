# AugSeg on PASCAL VOC 2012, 92 labelled + 10,490 unlabelled images; 80 x 655 = 52,400 iterations.
# Published: 71.09 mIoU (logs of the released code, best teacher epoch); last epoch 65.05.
_base_ = ["../_base_/data/voc_augseg.py", "../_base_/methods/augseg.py"]
model = _base_.method
train_dataloader = dict(dataset=dict(split=dict(name="classic_voc_92")))
train_cfg = dict(max_iters=52400)
