# CPS (without CutMix) on PASCAL VOC 2012 1/2, 5,291 labelled + 5,291 unlabelled images; 60 x 661 = 39,660 iterations.
# Published: 75.91 mIoU; CutMix 76.15; R101 78.64; R101 CutMix 78.64 (Chen et al., CVPR 2021, table 1).
_base_ = ["../_base_/data/voc_cps.py", "../_base_/methods/cps.py"]
model = dict(_base_.method, unsup_weight=1.5)
train_dataloader = dict(dataset=dict(split=dict(name="cps_voc_1of2")))
train_cfg = dict(max_iters=39660, num_validations=60)
