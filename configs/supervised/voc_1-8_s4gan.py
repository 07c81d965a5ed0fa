# Supervised baseline of s4GAN on PASCAL VOC 2012 1/8 (split 0), 1,322 labelled images; 40,000 iterations.
# Published: 62.0 mIoU [R] (mean of 3 splits, batch 10).
_base_ = "../_base_/data/voc_s4gan.py"
train_dataloader = dict(
    sampler=dict(num_per_source=dict(unlabeled=0, gt=0)),
    dataset=dict(split=dict(name="s4gan_voc_1of8"), sources=None),
)
