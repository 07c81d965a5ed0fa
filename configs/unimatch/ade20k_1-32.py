# UniMatch V1 on ADE20K 1/32, 631 labelled + 19,579 unlabelled images; 60 x 2,447 = 146,820 iterations.
# Published: none of a convolutional net.
_base_ = ["../_base_/data/ade20k_unimatch.py", "../_base_/methods/unimatch.py"]
model = _base_.released
train_dataloader = dict(dataset=dict(split=dict(name="v2_ade_1of32")))
train_cfg = dict(max_iters=146820)
