# AdvSemiSeg on PASCAL VOC 2012 train_aug 1/4 (2,645 labelled, 7,937 unlabelled); all but the labels
# as voc_1-8.py, whose header says more (batch 10 + 10 + 10, lr, 20,000 iterations, evaluation).
# Published: 72.1 mIoU [Q], in the paper's first version 71.6 [V].
_base_ = "./voc_1-8.py"
train_dataloader = dict(dataset=dict(split=dict(ratio=1 / 4)))
