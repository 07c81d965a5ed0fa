# CPS (without CutMix) on PASCAL VOC 2012 1/4, 2,646 labelled + 7,936 unlabelled images; 40 x 992 = 39,680 iterations.
# Published: 74.24 mIoU; CutMix 74.90; R101 77.55; R101 CutMix 77.68 (Chen et al., CVPR 2021, table 1).
_base_ = ["../_base_/data/voc_cps.py", "../_base_/methods/cps.py"]
model = dict(_base_.method, unsup_weight=1.5)
train_dataloader = dict(dataset=dict(split=dict(name="cps_voc_1of4")))
train_cfg = dict(max_iters=39680, num_validations=40)
