# Labelled-only baseline of UniMatch V2 on ADE20K 1/16, 1,263 labelled, DINOv2-S; 60 x 2,368 = 142,080 iterations.
# Published: none of this length; fewer iterations of twice the batch: 37.1, DINOv2-B 42.8 (logs of the released code).
_base_ = "../_base_/data/ade20k_unimatch_v2.py"
train_dataloader = dict(
    sampler=dict(num_per_source=dict(unlabeled=0)), dataset=dict(split=dict(name="v2_ade_1of16"))
)
train_cfg = dict(max_iters=142080)
