# UniMatch V1 on Cityscapes 1/8, 372 labelled + 2,603 unlabelled images; 240 x 325 = 78,000 iterations.
# Published: 77.9 mIoU; R50 76.8 (README of the released code).
_base_ = ["../_base_/data/cityscapes_unimatch.py", "../_base_/methods/unimatch.py"]
model = dict(_base_.released, threshold=0.0)
train_dataloader = dict(dataset=dict(split=dict(name="cps_city_1of8")))
train_cfg = dict(max_iters=78000)
