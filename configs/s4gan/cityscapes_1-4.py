# s4GAN on Cityscapes 1/4 (743 labelled, 2,232 unlabelled); all but the labels as cityscapes_1-8.py,
# whose header says more (batch 8 + 8 + 8, lr, 40,000 iterations, evaluation).
# Published: 61.9 mIoU [Q].
_base_ = "./cityscapes_1-8.py"
train_dataloader = dict(dataset=dict(split=dict(ratio=1 / 4)))
