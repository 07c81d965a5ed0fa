# AdvSemiSeg on Cityscapes 1/4 (743 labelled, 2,232 unlabelled); all but the labels as
# cityscapes_1-8.py, whose header says more (batch 2 + 2 + 2, lr, 40,000 iterations, evaluation).
# Published: 62.3 mIoU [Q], in the paper's first version 59.7 [V].
_base_ = "./cityscapes_1-8.py"
train_dataloader = dict(dataset=dict(split=dict(ratio=1 / 4)))
