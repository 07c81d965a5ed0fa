# PrevMatch on Cityscapes 1/2, 1,488 labelled + 1,487 unlabelled images; 240 x 186 = 44,640 iterations.
# Published: 80.1 mIoU; R50 79.2 (README of the released code); the log of this one: best epoch 80.10, last 79.69.
_base_ = ["../_base_/data/cityscapes_unimatch.py", "../_base_/methods/prevmatch.py"]
model = dict(_base_.released, threshold=0.0, previous_loss="image_mean_released")
train_dataloader = dict(dataset=dict(split=dict(name="cps_city_1of2")))
train_cfg = dict(max_iters=44640)
