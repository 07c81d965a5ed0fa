# AdvSemiSeg on all of PASCAL VOC 2012 train_aug (10,582 labelled): the adversarial loss on labels
# alone, as there are no unlabelled images. Batch 10 + 10 ground-truth maps, 20,000 iterations; the
# rest as voc_1-8.py.
# Published: 74.9 mIoU [V].
_base_ = "./voc_1-8_adversarial.py"
train_dataloader = dict(dataset=dict(split=None))
