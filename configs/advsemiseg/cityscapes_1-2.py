# AdvSemiSeg on Cityscapes 1/2 (1,487 labelled, 1,488 unlabelled); all but the labels as
# cityscapes_1-8.py, whose header says more (batch 2 + 2 + 2, lr, 40,000 iterations, evaluation).
# Published: 65.7 mIoU [Q], in the paper's first version 64.5 [V].
_base_ = "./cityscapes_1-8.py"
train_dataloader = dict(dataset=dict(split=dict(ratio=1 / 2)))
