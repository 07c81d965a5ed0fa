# Supervised baseline of s4GAN on Cityscapes 1/8 at half resolution, 371 labelled images; 40,000 iterations.
# Published: 56.2 mIoU [R].
_base_ = "../_base_/data/cityscapes_s4gan.py"
train_dataloader = dict(
    sampler=dict(num_per_source=dict(unlabeled=0, gt=0)),
    dataset=dict(split=dict(ratio=1 / 8), sources=None),
)
