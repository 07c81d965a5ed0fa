# Supervised baseline of AdvSemiSeg on PASCAL VOC 2012 train_aug 1/4 (2,645 labelled); all but the
# labels as voc_1-8_advsemiseg.py, whose header says more (net, batch, lr, 20,000 iterations,
# evaluation).
# Published: 68.3 mIoU [V].
_base_ = "./voc_1-8_advsemiseg.py"
train_dataloader = dict(dataset=dict(split=dict(ratio=1 / 4)))
