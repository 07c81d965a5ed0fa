# Supervised baseline of s4GAN on PASCAL-Context 1/4, 1,249 labelled images; 40,000 iterations.
# Published: 35.4 mIoU [R].
_base_ = "../_base_/data/context_s4gan.py"
train_dataloader = dict(
    sampler=dict(num_per_source=dict(unlabeled=0, gt=0)),
    dataset=dict(split=dict(ratio=1 / 4), sources=None),
)
