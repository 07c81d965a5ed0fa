# FixMatch (the student labels) on Cityscapes 1/4, 744 labelled + 2,231 unlabelled images; 240 x 279 = 66,960 iterations.
# Published: none of this net is in the sources that we know.
_base_ = ["../_base_/data/cityscapes_unimatch.py", "../_base_/methods/fixmatch.py"]
model = dict(_base_.released, threshold=0.0)
train_dataloader = dict(dataset=dict(split=dict(name="cps_city_1of4")))
train_cfg = dict(max_iters=66960)
