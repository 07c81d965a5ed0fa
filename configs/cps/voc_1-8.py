# CPS (without CutMix) on PASCAL VOC 2012 1/8, 1,323 labelled + 9,259 unlabelled images; 34 x 1,157 = 39,338 iterations.
# Published: 73.20 mIoU; CutMix 73.67; R101 75.83; R101 CutMix 76.44 (Chen et al., CVPR 2021, table 1); the authors' released run 73.28.
_base_ = ["../_base_/data/voc_cps.py", "../_base_/methods/cps.py"]
model = dict(_base_.method, unsup_weight=1.5)
train_dataloader = dict(dataset=dict(split=dict(name="cps_voc_1of8")))
train_cfg = dict(max_iters=39338, num_validations=34)
