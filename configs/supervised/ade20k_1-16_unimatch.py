# Supervised baseline of UniMatch and FixMatch on ADE20K 1/16, 1,263 labelled; 60 x 2,368 = 142,080 iterations.
# Published: none is at hand.
_base_ = "../_base_/data/ade20k_unimatch.py"
train_dataloader = dict(
    sampler=dict(num_per_source=dict(unlabeled=0)), dataset=dict(split=dict(name="v2_ade_1of16"))
)
train_cfg = dict(max_iters=142080)
