# Supervised baseline of s4GAN on Cityscapes 1/4 at half resolution, 743 labelled images; 40,000 iterations.
# Published: 60.2 mIoU [R].
_base_ = "../_base_/data/cityscapes_s4gan.py"
train_dataloader = dict(
    sampler=dict(num_per_source=dict(unlabeled=0, gt=0)),
    dataset=dict(split=dict(ratio=1 / 4), sources=None),
)
