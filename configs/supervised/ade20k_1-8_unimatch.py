# Supervised baseline of UniMatch and FixMatch on ADE20K 1/8, 2,526 labelled; 60 x 2,210 = 132,600 iterations.
# Published: none is at hand.
_base_ = "../_base_/data/ade20k_unimatch.py"
train_dataloader = dict(
    sampler=dict(num_per_source=dict(unlabeled=0)), dataset=dict(split=dict(name="v2_ade_1of8"))
)
train_cfg = dict(max_iters=132600)
