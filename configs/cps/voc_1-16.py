# CPS (without CutMix) on PASCAL VOC 2012 1/16, 662 labelled + 9,920 unlabelled images; 32 x 1,240 = 39,680 iterations.
# Published: 68.21 mIoU; CutMix 71.98; R101 72.18; R101 CutMix 74.48 (Chen et al., CVPR 2021, table 1).
_base_ = ["../_base_/data/voc_cps.py", "../_base_/methods/cps.py"]
model = dict(_base_.method, unsup_weight=1.5)
train_dataloader = dict(dataset=dict(split=dict(name="cps_voc_1of16")))
train_cfg = dict(max_iters=39680, num_validations=32)
