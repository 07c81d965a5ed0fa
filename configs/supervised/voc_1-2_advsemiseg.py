# Supervised baseline of AdvSemiSeg on PASCAL VOC 2012 1/2, 5,291 labelled images; 20,000 iterations.
# Published: 69.8 mIoU [V].
_base_ = "../_base_/data/voc_advsemiseg.py"
train_dataloader = dict(
    sampler=dict(num_per_source=dict(unlabeled=0, gt=0)),
    dataset=dict(split=dict(ratio=1 / 2), sources=None),
)
