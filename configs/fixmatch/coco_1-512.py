# FixMatch (the student labels) on COCO 1/512, 232 labelled + 118,055 unlabelled images; 30 x 14,757 = 442,710 iterations.
# Published: none of this net is in the sources that we know.
_base_ = ["../_base_/data/coco_unimatch.py", "../_base_/methods/fixmatch.py"]
model = _base_.released
train_dataloader = dict(dataset=dict(split=dict(name="unimatch_coco_1of512")))
train_cfg = dict(max_iters=442710)
