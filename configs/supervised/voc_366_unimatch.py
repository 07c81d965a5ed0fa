# Supervised baseline of UniMatch and FixMatch on PASCAL VOC 2012, 366 labelled; 80 x 1,277 = 102,160 iterations.
# Published: none is at hand.
_base_ = "../_base_/data/voc_unimatch.py"
train_dataloader = dict(
    sampler=dict(num_per_source=dict(unlabeled=0)), dataset=dict(split=dict(name="classic_voc_366"))
)
train_cfg = dict(max_iters=102160)
