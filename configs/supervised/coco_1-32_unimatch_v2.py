# Labelled-only baseline of UniMatch V2 on COCO 1/32, 3,697 labelled, DINOv2-S; 20 x 7,162 = 143,240 iterations.
# Published: none of this length; fewer iterations of twice the batch: 52.0, DINOv2-B 59.5 (logs of the released code).
_base_ = "../_base_/data/coco_unimatch_v2.py"
train_dataloader = dict(
    sampler=dict(num_per_source=dict(unlabeled=0)),
    dataset=dict(split=dict(name="unimatch_coco_1of32")),
)
train_cfg = dict(max_iters=143240)
