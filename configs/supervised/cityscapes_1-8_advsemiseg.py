# Supervised baseline of AdvSemiSeg on Cityscapes 1/8, 371 labelled images; 40,000 iterations.
# Published: 55.5 mIoU [R]; in the paper's first version 52.4 [V].
_base_ = "../_base_/data/cityscapes_advsemiseg.py"
train_dataloader = dict(
    sampler=dict(num_per_source=dict(unlabeled=0, gt=0)),
    dataset=dict(split=dict(ratio=1 / 8), sources=None),
)
