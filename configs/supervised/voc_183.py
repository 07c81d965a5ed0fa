# Supervised baseline of CPS on PASCAL VOC 2012, 183 labelled; 30 x 1,322 = 39,660 iterations (inferred).
# Published: none is at hand.
_base_ = "../_base_/data/voc_cps.py"
train_dataloader = dict(
    sampler=dict(num_per_source=dict(unlabeled=0)),
    dataset=dict(split=dict(name="cps_voc_pseudoseg_1of8"), unlabeled=dict(pool="all")),
)
train_cfg = dict(max_iters=39660, num_validations=30)
