# s4GAN on all of Cityscapes at half resolution: 2,975 labelled images, which are the unlabelled ones as well, as released; 40,000 iterations.
# Published: 65.8 mIoU [Q].
_base_ = ["../_base_/data/cityscapes_s4gan.py", "../_base_/methods/s4gan.py"]
model = dict(_base_.method, threshold=0.7)
optim_wrapper = _base_.slow_discriminator
train_dataloader = dict(dataset=dict(split=None, unlabeled=dict(pool="all")))
