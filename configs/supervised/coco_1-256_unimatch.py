# Supervised baseline of UniMatch and FixMatch on COCO 1/256, 463 labelled; 30 x 14,728 = 441,840 iterations.
# Published: none is at hand.
_base_ = "../_base_/data/coco_unimatch.py"
train_dataloader = dict(
    sampler=dict(num_per_source=dict(unlabeled=0)),
    dataset=dict(split=dict(name="unimatch_coco_1of256")),
)
train_cfg = dict(max_iters=441840)
