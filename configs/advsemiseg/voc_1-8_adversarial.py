# AdvSemiSeg on PASCAL VOC 2012 train_aug 1/8 (1,322 labelled), without unlabelled images: the
# adversarial loss on labels alone. Batch 10 + 10 ground-truth maps, 20,000 iterations; the rest as
# voc_1-8.py.
# Published: 67.6 mIoU [V].
_base_ = "./voc_1-8.py"
train_dataloader = dict(batch_size=20, sampler=dict(num_per_source=dict(unlabeled=0)))
auto_scale_lr = dict(base_batch_size=20)
