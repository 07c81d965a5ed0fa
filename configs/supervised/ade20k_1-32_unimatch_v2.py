# Labelled-only baseline of UniMatch V2 on ADE20K 1/32, 631 labelled, DINOv2-S; 60 x 2,447 = 146,820 iterations.
# Published: none of this length; fewer iterations of twice the batch: 32.7, DINOv2-B 39.3 (logs of the released code).
_base_ = "../_base_/data/ade20k_unimatch_v2.py"
train_dataloader = dict(
    sampler=dict(num_per_source=dict(unlabeled=0)), dataset=dict(split=dict(name="v2_ade_1of32"))
)
train_cfg = dict(max_iters=146820)
