# PrevMatch on Cityscapes 1/4, 744 labelled + 2,231 unlabelled images; 240 x 279 = 66,960 iterations.
# Published: 80.1 mIoU; R50 78.8 (README of the released code); the log of this one: best epoch 80.09, last 79.75.
_base_ = ["../_base_/data/cityscapes_unimatch.py", "../_base_/methods/prevmatch.py"]
model = dict(_base_.released, threshold=0.0, previous_loss="image_mean_released")
train_dataloader = dict(dataset=dict(split=dict(name="cps_city_1of4")))
train_cfg = dict(max_iters=66960)
