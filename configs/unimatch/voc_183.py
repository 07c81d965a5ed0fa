# UniMatch V1 on PASCAL VOC 2012, 183 labelled + 10,399 unlabelled images; 80 x 1,300 = 104,000 iterations.
# Published: 77.2 mIoU (README of the released code); mean of its three logged runs 77.5; R50 72.5 (logs).
_base_ = ["../_base_/data/voc_unimatch.py", "../_base_/methods/unimatch.py"]
model = _base_.released
train_dataloader = dict(dataset=dict(split=dict(name="classic_voc_183")))
train_cfg = dict(max_iters=104000)
