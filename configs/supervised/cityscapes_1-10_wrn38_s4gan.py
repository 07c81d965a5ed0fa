# Supervised baseline of s4GAN on Cityscapes 1/10 at half resolution with Wide ResNet-38, 297 labelled images; 40,000 iterations.
# Published: none.
_base_ = "../_base_/data/cityscapes_s4gan.py"
model = dict(segmentor=_base_.wrn38)
optim_wrapper = dict(optimizer=dict(lr=1e-3))
train_dataloader = dict(dataset=dict(split=dict(ratio=0.1), sources=None))
train_dataloader["sampler"] = dict(num_per_source=dict(unlabeled=0, gt=0))
