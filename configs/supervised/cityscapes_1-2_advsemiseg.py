# Supervised baseline of AdvSemiSeg on Cityscapes 1/2 (1,487 labelled); all but the labels as
# cityscapes_1-8_advsemiseg.py, whose header says more (net, batch, lr, 40,000 iterations,
# evaluation).
# Published: 64.1 mIoU [R], in the paper's first version 62.6 [V].
_base_ = "./cityscapes_1-8_advsemiseg.py"
train_dataloader = dict(dataset=dict(split=dict(ratio=1 / 2)))
