# s4GAN on all of PASCAL VOC 2012 train_aug (10,582 labelled), which are its unlabelled images as
# well, as in the released code; all else as voc_1-8.py, whose header says more (batch 8 + 8 + 8,
# lr, 40,000 iterations, evaluation).
# Published with MLMT: 73.2 mIoU [R]; s4GAN alone is not at hand.
_base_ = "./voc_1-8.py"
train_dataloader = dict(dataset=dict(split=None, unlabeled=dict(pool="all")))
