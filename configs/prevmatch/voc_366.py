# PrevMatch on PASCAL VOC 2012, 366 labelled + 10,216 unlabelled images; 80 x 1,277 = 102,160 iterations.
# Published: 79.6 mIoU; R50 77.5 (README of the released code); the log of this one: best epoch 79.60, last 79.45.
_base_ = ["../_base_/data/voc_unimatch.py", "../_base_/methods/prevmatch.py"]
model = _base_.released
train_dataloader = dict(dataset=dict(split=dict(name="classic_voc_366")))
train_cfg = dict(max_iters=102160)
