# Supervised baseline of AdvSemiSeg on Cityscapes 1/4 (743 labelled); all but the labels as
# cityscapes_1-8_advsemiseg.py, whose header says more (net, batch, lr, 40,000 iterations,
# evaluation).
# Published: 59.9 mIoU [R], in the paper's first version 58.3 [V].
_base_ = "./cityscapes_1-8_advsemiseg.py"
train_dataloader = dict(dataset=dict(split=dict(ratio=1 / 4)))
