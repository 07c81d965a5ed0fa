# UniMatch V1 on PASCAL VOC 2012 1/16, 662 labelled + 9,920 unlabelled images; 80 x 1,240 = 99,200 iterations.
# Published: 77.0 mIoU (mean of the three logged runs of the released code).
_base_ = ["../_base_/data/voc_unimatch.py", "../_base_/methods/unimatch.py"]
model = _base_.released
train_dataloader = dict(dataset=dict(split=dict(name="cps_voc_1of16")))
train_cfg = dict(max_iters=99200)
