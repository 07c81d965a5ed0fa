# s4GAN on PASCAL VOC 2012 1/50 (split 0), 211 labelled + 10,371 unlabelled images; 40,000 iterations.
# Published: none of s4GAN alone; with MLMT 60.4 [R] (recalled, unverified) (voc_1-50_fused.py).
_base_ = ["../_base_/data/voc_s4gan.py", "../_base_/methods/s4gan.py"]
model = _base_.method
optim_wrapper = _base_.optimizers
train_dataloader = dict(dataset=dict(split=dict(name="s4gan_voc_1of50")))
