# UniMatch V1 on ADE20K 1/2, 10,105 labelled + 10,105 unlabelled images; 60 x 1,263 = 75,780 iterations.
# Published: none of a convolutional net.
_base_ = ["../_base_/data/ade20k_unimatch.py", "../_base_/methods/unimatch.py"]
model = _base_.released
train_dataloader = dict(dataset=dict(split=dict(name="v2_ade_1of2")))
train_cfg = dict(max_iters=75780)
