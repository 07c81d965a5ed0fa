# Labelled-only baseline of UniMatch V2 on Cityscapes 1/2, 1,488 labelled, DINOv2-S; 180 x 186 = 33,480 iterations.
# Published: none of this length; fewer iterations of twice the batch: 82.4, DINOv2-B 84.4 (logs of the released code).
_base_ = "../_base_/data/cityscapes_unimatch_v2.py"
train_dataloader = dict(
    sampler=dict(num_per_source=dict(unlabeled=0)), dataset=dict(split=dict(name="cps_city_1of2"))
)
train_cfg = dict(max_iters=33480)
