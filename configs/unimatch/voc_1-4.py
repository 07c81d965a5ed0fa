# UniMatch V1 on PASCAL VOC 2012 1/4, 2,646 labelled + 7,936 unlabelled images; 80 x 992 = 79,360 iterations.
# Published: 77.4 mIoU (mean of the three logged runs of the released code).
_base_ = ["../_base_/data/voc_unimatch.py", "../_base_/methods/unimatch.py"]
model = _base_.released
train_dataloader = dict(dataset=dict(split=dict(name="cps_voc_1of4")))
train_cfg = dict(max_iters=79360)
