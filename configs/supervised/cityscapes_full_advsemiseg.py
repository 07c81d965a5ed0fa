# Supervised baseline of AdvSemiSeg on all of Cityscapes (2,975 labelled); all but the labels as
# cityscapes_1-8_advsemiseg.py, whose header says more (net, batch, lr, 40,000 iterations,
# evaluation).
# Published: 66.4 mIoU [V].
_base_ = "./cityscapes_1-8_advsemiseg.py"
train_dataloader = dict(dataset=dict(split=None))
