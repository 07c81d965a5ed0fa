# Labelled-only baseline of UniMatch V2 on ADE20K 1/8, 2,526 labelled, DINOv2-S; 60 x 2,210 = 132,600 iterations.
# Published: none of this length; fewer iterations of twice the batch: 39.8, DINOv2-B 46.4 (logs of the released code).
_base_ = "../_base_/data/ade20k_unimatch_v2.py"
train_dataloader = dict(
    sampler=dict(num_per_source=dict(unlabeled=0)), dataset=dict(split=dict(name="v2_ade_1of8"))
)
train_cfg = dict(max_iters=132600)
