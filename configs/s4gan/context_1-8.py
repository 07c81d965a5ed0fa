# s4GAN on PASCAL-Context 1/8, 624 labelled + 4,374 unlabelled images; 40,000 iterations.
# Published: none of s4GAN alone; with MLMT 35.3 [R] (recalled, unverified) (context_1-8_fused.py).
_base_ = ["../_base_/data/context_s4gan.py", "../_base_/methods/s4gan.py"]
model = _base_.method
optim_wrapper = _base_.optimizers
train_dataloader = dict(dataset=dict(split=dict(ratio=1 / 8)))
