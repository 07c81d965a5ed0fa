# UniMatch V1 on COCO 1/32, 3,697 labelled + 114,590 unlabelled images; 30 x 14,324 = 429,720 iterations.
# Published: Xception-65 49.8 mIoU (README of the released code); none with this net.
_base_ = ["../_base_/data/coco_unimatch.py", "../_base_/methods/unimatch.py"]
model = _base_.released
train_dataloader = dict(dataset=dict(split=dict(name="unimatch_coco_1of32")))
train_cfg = dict(max_iters=429720)
