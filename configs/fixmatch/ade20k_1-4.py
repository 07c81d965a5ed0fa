# FixMatch (the student labels) on ADE20K 1/4, 5,052 labelled + 15,158 unlabelled images; 60 x 1,895 = 113,700 iterations.
# Published: none of a convolutional net.
_base_ = ["../_base_/data/ade20k_unimatch.py", "../_base_/methods/fixmatch.py"]
model = _base_.released
train_dataloader = dict(dataset=dict(split=dict(name="v2_ade_1of4")))
train_cfg = dict(max_iters=113700)
