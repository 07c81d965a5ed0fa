# Supervised baseline of CPS on PASCAL VOC 2012 1/8, 1,323 labelled; 34 x 1,157 = 39,338 iterations.
# Published: 69.43 mIoU; R101 72.21 (CPS paper, quoted).
_base_ = "../_base_/data/voc_cps.py"
train_dataloader = dict(
    sampler=dict(num_per_source=dict(unlabeled=0)), dataset=dict(split=dict(name="cps_voc_1of8"))
)
train_cfg = dict(max_iters=39338, num_validations=34)
