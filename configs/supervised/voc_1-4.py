# Supervised baseline of CPS on PASCAL VOC 2012 1/4, 2,646 labelled; 40 x 992 = 39,680 iterations.
# Published: none is at hand.
_base_ = "../_base_/data/voc_cps.py"
train_dataloader = dict(
    sampler=dict(num_per_source=dict(unlabeled=0)), dataset=dict(split=dict(name="cps_voc_1of4"))
)
train_cfg = dict(max_iters=39680, num_validations=40)
