# FixMatch (the student labels) on COCO 1/32, 3,697 labelled + 114,590 unlabelled images; 30 x 14,324 = 429,720 iterations.
# Published: none of this net is in the sources that we know.
_base_ = ["../_base_/data/coco_unimatch.py", "../_base_/methods/fixmatch.py"]
model = _base_.released
train_dataloader = dict(dataset=dict(split=dict(name="unimatch_coco_1of32")))
train_cfg = dict(max_iters=429720)
