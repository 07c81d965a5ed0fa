# s4GAN on PASCAL-Context 1/4 (1,249 labelled, 3,749 unlabelled); all but the labels as
# context_1-8.py, whose header says more (batch 8 + 8 + 8, lr, 40,000 iterations, evaluation).
# Published with MLMT: 37.8 mIoU [R].
_base_ = "./context_1-8.py"
train_dataloader = dict(dataset=dict(split=dict(ratio=1 / 4)))
