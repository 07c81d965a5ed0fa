# PrevMatch on PASCAL VOC 2012, 183 labelled + 10,399 unlabelled images; 80 x 1,300 = 104,000 iterations.
# Published: 78.5 mIoU; R50 75.4 (README of the released code); the log of this one: best epoch 78.97, last 78.46.
_base_ = ["../_base_/data/voc_unimatch.py", "../_base_/methods/prevmatch.py"]
model = _base_.released
train_dataloader = dict(dataset=dict(split=dict(name="classic_voc_183")))
train_cfg = dict(max_iters=104000)
