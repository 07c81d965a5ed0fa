# s4GAN on Cityscapes 1/8 at half resolution, 371 labelled + 2,604 unlabelled images; 40,000 iterations.
# Published: 59.3 mIoU [Q].
_base_ = ["../_base_/data/cityscapes_s4gan.py", "../_base_/methods/s4gan.py"]
model = dict(_base_.method, threshold=0.7)
optim_wrapper = _base_.slow_discriminator
train_dataloader = dict(dataset=dict(split=dict(ratio=1 / 8)))
