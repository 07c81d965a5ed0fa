# MLMT on PASCAL-Context 1/8, 624 labelled + 4,374 unlabelled images; 100 x 39 = 3,900 iterations.
# Published: none of the classifier alone; its fusion with s4GAN: s4gan/context_1-8_fused.py.
_base_ = ["../_base_/data/context_mlmt.py", "../_base_/methods/mlmt.py"]
model = dict(_base_.method, epochs=100, epoch_iters=39)
train_dataloader = dict(dataset=dict(split=dict(ratio=1 / 8)))
train_cfg = dict(max_iters=3900)
