# UniMatch V1 on ADE20K 1/16, 1,263 labelled + 18,947 unlabelled images; 60 x 2,368 = 142,080 iterations.
# Published: none of a convolutional net.
_base_ = ["../_base_/data/ade20k_unimatch.py", "../_base_/methods/unimatch.py"]
model = _base_.released
train_dataloader = dict(dataset=dict(split=dict(name="v2_ade_1of16")))
train_cfg = dict(max_iters=142080)
