# s4GAN on Cityscapes 1/10 at half resolution with Wide ResNet-38, 297 labelled + 2,678 unlabelled images; 40,000 iterations.
# Published: none; the released script cannot run, the settings are read from it.
_base_ = ["../_base_/data/cityscapes_s4gan.py", "../_base_/methods/s4gan.py"]
model = dict(_base_.method, threshold=0.55, segmentor=_base_.wrn38)
optim_wrapper = dict(_base_.slow_discriminator, optimizer=dict(lr=1e-3))
train_dataloader = dict(dataset=dict(split=dict(ratio=0.1)))
