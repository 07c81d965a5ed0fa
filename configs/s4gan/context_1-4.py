# s4GAN on PASCAL-Context 1/4, 1,249 labelled + 3,749 unlabelled images; 40,000 iterations.
# Published: none of s4GAN alone; with MLMT 37.8 [R] (recalled, unverified) (context_1-4_fused.py).
_base_ = ["../_base_/data/context_s4gan.py", "../_base_/methods/s4gan.py"]
model = _base_.method
optim_wrapper = _base_.optimizers
train_dataloader = dict(dataset=dict(split=dict(ratio=1 / 4)))
