# Supervised baseline of s4GAN on Cityscapes 1/4 (743 labelled of 2,975); all but the labels as
# cityscapes_1-8_s4gan.py, whose header says more (net, batch, lr, 40,000 iterations, evaluation).
# Published: 60.2 mIoU [R].
_base_ = "./cityscapes_1-8_s4gan.py"
train_dataloader = dict(dataset=dict(split=dict(ratio=1 / 4)))
