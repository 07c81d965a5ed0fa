# Supervised baseline of s4GAN on all of PASCAL-Context, 4,998 labelled images; 40,000 iterations.
# Published: 41.0 mIoU [R] (recalled, unverified).
_base_ = "../_base_/data/context_s4gan.py"
train_dataloader = dict(
    sampler=dict(num_per_source=dict(unlabeled=0, gt=0)),
    dataset=dict(split=None, unlabeled=dict(pool="all"), sources=None),
)
