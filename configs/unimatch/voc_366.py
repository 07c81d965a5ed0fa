# UniMatch V1 on PASCAL VOC 2012, 366 labelled + 10,216 unlabelled images; 80 x 1,277 = 102,160 iterations.
# Published: 78.8 mIoU (README of the released code); mean of its three logged runs 78.5; R50 76.0 (logs).
_base_ = ["../_base_/data/voc_unimatch.py", "../_base_/methods/unimatch.py"]
model = _base_.released
train_dataloader = dict(dataset=dict(split=dict(name="classic_voc_366")))
train_cfg = dict(max_iters=102160)
