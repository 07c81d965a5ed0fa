# MLMT on all of PASCAL-Context, 4,998 labelled images: the labels alone, as none is unlabelled; 100 x 313 = 31,300 iterations.
# Published: none of the classifier alone; its fusion with s4GAN: s4gan/context_full_fused.py.
_base_ = ["../_base_/data/context_mlmt.py", "../_base_/methods/mlmt.py"]
model = dict(_base_.method, epochs=100, epoch_iters=313)
train_dataloader = dict(sampler=dict(num_per_source=dict(unlabeled=0)), dataset=dict(split=None))
train_cfg = dict(max_iters=31300)
