# UniMatch V1 on PASCAL VOC 2012, 1,464 labelled + 9,118 unlabelled images; 80 x 1,140 = 91,200 iterations.
# Published: 81.2 mIoU (README of the released code); mean of its three logged runs 80.8; R50 78.7 (logs).
_base_ = ["../_base_/data/voc_unimatch.py", "../_base_/methods/unimatch.py"]
model = _base_.released
train_dataloader = dict(dataset=dict(split=dict(name="classic_voc_1464")))
train_cfg = dict(max_iters=91200)
