# s4GAN on all of PASCAL-Context: 4,998 labelled images, which are the unlabelled ones as well, as released; 40,000 iterations.
# Published: none of s4GAN alone; with MLMT 41.1 [R] (recalled, unverified) (context_full_fused.py).
_base_ = ["../_base_/data/context_s4gan.py", "../_base_/methods/s4gan.py"]
model = _base_.method
optim_wrapper = _base_.optimizers
train_dataloader = dict(dataset=dict(split=None, unlabeled=dict(pool="all")))
