# Supervised baseline of s4GAN on PASCAL-Context 1/4 (1,249 labelled of 4,998); all but the labels
# as context_1-8_s4gan.py, whose header says more (net, batch, lr, 40,000 iterations, evaluation).
# Published: 35.4 mIoU [R].
_base_ = "./context_1-8_s4gan.py"
train_dataloader = dict(dataset=dict(split=dict(ratio=1 / 4)))
