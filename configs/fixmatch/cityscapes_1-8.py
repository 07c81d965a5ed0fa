# FixMatch (the student labels) on Cityscapes 1/8, 372 labelled + 2,603 unlabelled images; 240 x 325 = 78,000 iterations.
# Published: none of this net is in the sources that we know.
_base_ = ["../_base_/data/cityscapes_unimatch.py", "../_base_/methods/fixmatch.py"]
model = dict(_base_.released, threshold=0.0)
train_dataloader = dict(dataset=dict(split=dict(name="cps_city_1of8")))
train_cfg = dict(max_iters=78000)
