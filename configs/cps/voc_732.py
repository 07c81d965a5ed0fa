# CPS+CutMix on PASCAL VOC 2012, 732 labelled + all 10,582 unlabelled images; 30 x 1,322 = 39,660 iterations (inferred).
# Published: 75.88 mIoU (Chen et al., CVPR 2021, quoted; R50 or R101 is not stated there).
_base_ = ["../_base_/data/voc_cps.py", "../_base_/methods/cps.py"]
model = dict(_base_.method, mix=dict(type="CutMix"), unsup_weight=0.1)
train_dataloader = dict(dataset=dict(split=dict(name="cps_voc_pseudoseg_1of2")))
train_dataloader["dataset"]["unlabeled"] = dict(pool="all")
train_dataloader["sampler"] = dict(num_per_source=dict(unlabeled=4))
train_cfg = dict(max_iters=39660, num_validations=30)
