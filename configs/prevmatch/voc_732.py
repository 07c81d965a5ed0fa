# PrevMatch on PASCAL VOC 2012, 732 labelled + 9,850 unlabelled images; 80 x 1,231 = 98,480 iterations.
# Published: 80.4 mIoU; R50 78.6 (README of the released code); the log of this one: best epoch 80.36, last 79.49.
_base_ = ["../_base_/data/voc_unimatch.py", "../_base_/methods/prevmatch.py"]
model = _base_.released
train_dataloader = dict(dataset=dict(split=dict(name="classic_voc_732")))
train_cfg = dict(max_iters=98480)
