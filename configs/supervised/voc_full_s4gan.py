# Supervised baseline of s4GAN on all of PASCAL VOC 2012 train_aug (10,582 labelled); all but the
# labels as voc_1-8_s4gan.py, whose header says more (net, batch, lr, 40,000 iterations,
# evaluation).
# Published: 70.7 mIoU (batch 10; confirmed in an issue of the released code).
_base_ = "./voc_1-8_s4gan.py"
train_dataloader = dict(dataset=dict(split=None, unlabeled=dict(pool="all")))
