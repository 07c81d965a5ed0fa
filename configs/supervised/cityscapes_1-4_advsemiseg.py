# Supervised baseline of AdvSemiSeg on Cityscapes 1/4, 743 labelled images; 40,000 iterations.
# Published: 59.9 mIoU [R]; in the paper's first version 58.3 [V].
_base_ = "../_base_/data/cityscapes_advsemiseg.py"
train_dataloader = dict(
    sampler=dict(num_per_source=dict(unlabeled=0, gt=0)),
    dataset=dict(split=dict(ratio=1 / 4), sources=None),
)
