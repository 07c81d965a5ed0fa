# PrevMatch on Cityscapes 1/16, 186 labelled + 2,789 unlabelled images; 240 x 349 = 83,760 iterations.
# Published: 77.7 mIoU; R50 75.8 (README of the released code); the log of this one: best epoch 77.74, last 77.47.
_base_ = ["../_base_/data/cityscapes_unimatch.py", "../_base_/methods/prevmatch.py"]
model = dict(_base_.released, threshold=0.0, previous_loss="image_mean_released")
train_dataloader = dict(dataset=dict(split=dict(name="cps_city_1of16")))
train_cfg = dict(max_iters=83760)
