# Supervised baseline of UniMatch and FixMatch on COCO 1/32, 3,697 labelled; 30 x 14,324 = 429,720 iterations.
# Published: none is at hand.
_base_ = "../_base_/data/coco_unimatch.py"
train_dataloader = dict(
    sampler=dict(num_per_source=dict(unlabeled=0)),
    dataset=dict(split=dict(name="unimatch_coco_1of32")),
)
train_cfg = dict(max_iters=429720)
