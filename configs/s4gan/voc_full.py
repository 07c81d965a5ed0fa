# s4GAN on all of PASCAL VOC 2012: 10,582 labelled images, which are the unlabelled ones as well, as released; 40,000 iterations.
# Published: none of s4GAN alone; with MLMT 73.2 [R] (recalled, unverified) (voc_full_fused.py).
_base_ = ["../_base_/data/voc_s4gan.py", "../_base_/methods/s4gan.py"]
model = _base_.method
optim_wrapper = _base_.optimizers
train_dataloader = dict(dataset=dict(split=None, unlabeled=dict(pool="all")))
