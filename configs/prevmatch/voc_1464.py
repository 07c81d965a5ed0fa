# PrevMatch on PASCAL VOC 2012, 1,464 labelled + 9,118 unlabelled images; 80 x 1,140 = 91,200 iterations.
# Published: 81.6 mIoU; R50 79.3 (README of the released code); the log of this one: best epoch 81.64, last 81.11.
_base_ = ["../_base_/data/voc_unimatch.py", "../_base_/methods/prevmatch.py"]
model = _base_.released
train_dataloader = dict(dataset=dict(split=dict(name="classic_voc_1464")))
train_cfg = dict(max_iters=91200)
