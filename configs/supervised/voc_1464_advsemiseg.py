# Supervised baseline of AdvSemiSeg on PASCAL VOC 2012 train, 1,464 labelled images; 20,000 iterations.
# Published: 66.3 mIoU [V].
_base_ = "../_base_/data/voc_advsemiseg.py"
train_dataloader = dict(
    sampler=dict(num_per_source=dict(unlabeled=0, gt=0)),
    dataset=dict(split=_base_.voc_train, sources=None),
)
