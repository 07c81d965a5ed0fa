# Supervised baseline of s4GAN on all of Cityscapes at half resolution, 2,975 labelled images; 40,000 iterations.
# Published: 66.0 mIoU [R] (recalled, unverified).
_base_ = "../_base_/data/cityscapes_s4gan.py"
train_dataloader = dict(
    sampler=dict(num_per_source=dict(unlabeled=0, gt=0)),
    dataset=dict(split=None, unlabeled=dict(pool="all"), sources=None),
)
