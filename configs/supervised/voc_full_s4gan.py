# Supervised baseline of s4GAN on all of PASCAL VOC 2012, 10,582 labelled images; 40,000 iterations.
# Published: 70.7 mIoU (batch 10; confirmed in an issue of the released code).
_base_ = "../_base_/data/voc_s4gan.py"
train_dataloader = dict(
    sampler=dict(num_per_source=dict(unlabeled=0, gt=0)),
    dataset=dict(split=None, unlabeled=dict(pool="all"), sources=None),
)
