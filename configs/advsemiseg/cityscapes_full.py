# AdvSemiSeg on all of Cityscapes (2,975 labelled): the adversarial loss on labels alone, as there
# are no unlabelled images. Batch 2 + 2 ground-truth maps, 40,000 iterations; the rest as
# cityscapes_1-8.py.
# Published: 67.7 mIoU [V].
_base_ = "./cityscapes_1-8.py"
train_dataloader = dict(
    batch_size=4,
    sampler=dict(num_per_source=dict(unlabeled=0)),
    dataset=dict(split=None),
)
auto_scale_lr = dict(base_batch_size=4)
