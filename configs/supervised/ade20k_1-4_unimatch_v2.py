# Labelled-only baseline of UniMatch V2 on ADE20K 1/4, 5,052 labelled, DINOv2-S; 60 x 1,895 = 113,700 iterations.
# Published: none of this length; fewer iterations of twice the batch: 42.7, DINOv2-B 49.0 (logs of the released code).
_base_ = "../_base_/data/ade20k_unimatch_v2.py"
train_dataloader = dict(
    sampler=dict(num_per_source=dict(unlabeled=0)), dataset=dict(split=dict(name="v2_ade_1of4"))
)
train_cfg = dict(max_iters=113700)
