# FixMatch (the student labels) on PASCAL VOC 2012 1/8, 1,323 labelled + 9,259 unlabelled images; 80 x 1,157 = 92,560 iterations.
# Published: none of this net is in the sources that we know.
_base_ = ["../_base_/data/voc_unimatch.py", "../_base_/methods/fixmatch.py"]
model = _base_.released
train_dataloader = dict(dataset=dict(split=dict(name="cps_voc_1of8")))
train_cfg = dict(max_iters=92560)
