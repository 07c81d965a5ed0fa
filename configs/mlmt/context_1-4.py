# MLMT on PASCAL-Context 1/4, 1,249 labelled + 3,749 unlabelled images; 100 x 79 = 7,900 iterations.
# Published: none of the classifier alone; its fusion with s4GAN: s4gan/context_1-4_fused.py.
_base_ = ["../_base_/data/context_mlmt.py", "../_base_/methods/mlmt.py"]
model = dict(_base_.method, epochs=100, epoch_iters=79)
train_dataloader = dict(dataset=dict(split=dict(ratio=1 / 4)))
train_cfg = dict(max_iters=7900)
