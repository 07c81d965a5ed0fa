# Labelled-only baseline of UniMatch V2 on COCO 1/128, 925 labelled, DINOv2-S; 20 x 7,335 = 146,700 iterations.
# Published: none of this length; fewer iterations of twice the batch: 44.6, DINOv2-B 52.1 (logs of the released code).
_base_ = "../_base_/data/coco_unimatch_v2.py"
train_dataloader = dict(
    sampler=dict(num_per_source=dict(unlabeled=0)),
    dataset=dict(split=dict(name="unimatch_coco_1of128")),
)
train_cfg = dict(max_iters=146700)
