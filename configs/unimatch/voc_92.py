# UniMatch V1 on PASCAL VOC 2012, 92 labelled + 10,490 unlabelled images; 80 x 1,311 = 104,880 iterations.
# Published: 75.2 mIoU (README of the released code); mean of its three logged runs 75.0; R50 71.9 (logs).
_base_ = ["../_base_/data/voc_unimatch.py", "../_base_/methods/unimatch.py"]
model = _base_.released
train_dataloader = dict(dataset=dict(split=dict(name="classic_voc_92")))
train_cfg = dict(max_iters=104880)
