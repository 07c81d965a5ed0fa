# Supervised baseline of AdvSemiSeg on all of PASCAL VOC 2012 train_aug (10,582 labelled); all but
# the labels as voc_1-8_advsemiseg.py, whose header says more (net, batch, lr, 20,000 iterations,
# evaluation).
# Published: 73.6 mIoU [V].
_base_ = "./voc_1-8_advsemiseg.py"
train_dataloader = dict(dataset=dict(split=None))
