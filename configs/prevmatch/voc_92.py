# PrevMatch on PASCAL VOC 2012, 92 labelled + 10,490 unlabelled images; 80 x 1,311 = 104,880 iterations.
# Published: 77.0 mIoU; R50 73.4 (README of the released code); the log of this one: best epoch 77.10, last 76.60.
_base_ = ["../_base_/data/voc_unimatch.py", "../_base_/methods/prevmatch.py"]
model = _base_.released
train_dataloader = dict(dataset=dict(split=dict(name="classic_voc_92")))
train_cfg = dict(max_iters=104880)
