# Supervised baseline of CPS on PASCAL VOC 2012 1/2, 5,291 labelled; 60 x 661 = 39,660 iterations.
# Published: none is at hand.
_base_ = "../_base_/data/voc_cps.py"
train_dataloader = dict(
    sampler=dict(num_per_source=dict(unlabeled=0)), dataset=dict(split=dict(name="cps_voc_1of2"))
)
train_cfg = dict(max_iters=39660, num_validations=60)
