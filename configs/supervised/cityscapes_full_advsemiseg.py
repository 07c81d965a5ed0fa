# Supervised baseline of AdvSemiSeg on all of Cityscapes, 2,975 labelled images; 40,000 iterations.
# Published: 66.4 mIoU [V].
_base_ = "../_base_/data/cityscapes_advsemiseg.py"
train_dataloader = dict(
    sampler=dict(num_per_source=dict(unlabeled=0, gt=0)), dataset=dict(split=None, sources=None)
)
