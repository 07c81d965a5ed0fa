# UniMatch V1 on ADE20K 1/8, 2,526 labelled + 17,684 unlabelled images; 60 x 2,210 = 132,600 iterations.
# Published: none of a convolutional net.
_base_ = ["../_base_/data/ade20k_unimatch.py", "../_base_/methods/unimatch.py"]
model = _base_.released
train_dataloader = dict(dataset=dict(split=dict(name="v2_ade_1of8")))
train_cfg = dict(max_iters=132600)
