# AdvSemiSeg on PASCAL VOC 2012 train_aug 1/2 (5,291 labelled, 5,291 unlabelled); all but the labels
# as voc_1-8.py, whose header says more (batch 10 + 10 + 10, lr, 20,000 iterations, evaluation).
# Published: 73.8 mIoU [R], in the paper's first version 73.2 [V].
_base_ = "./voc_1-8.py"
train_dataloader = dict(dataset=dict(split=dict(ratio=1 / 2)))
