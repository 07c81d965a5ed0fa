# Supervised baseline of AdvSemiSeg on all of PASCAL VOC 2012, 10,582 labelled images; 20,000 iterations.
# Published: 73.6 mIoU [V].
_base_ = "../_base_/data/voc_advsemiseg.py"
train_dataloader = dict(
    sampler=dict(num_per_source=dict(unlabeled=0, gt=0)), dataset=dict(split=None, sources=None)
)
