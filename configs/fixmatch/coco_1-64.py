# FixMatch (the student labels) on COCO 1/64, 1,849 labelled + 116,438 unlabelled images; 30 x 14,555 = 436,650 iterations.
# Published: none of this net is in the sources that we know.
_base_ = ["../_base_/data/coco_unimatch.py", "../_base_/methods/fixmatch.py"]
model = _base_.released
train_dataloader = dict(dataset=dict(split=dict(name="unimatch_coco_1of64")))
train_cfg = dict(max_iters=436650)
