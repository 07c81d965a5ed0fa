# PrevMatch on Cityscapes 1/8, 372 labelled + 2,603 unlabelled images; 240 x 325 = 78,000 iterations.
# Published: 78.9 mIoU; R50 77.8 (README of the released code); the log of this one: best epoch 78.92, last 78.56.
_base_ = ["../_base_/data/cityscapes_unimatch.py", "../_base_/methods/prevmatch.py"]
model = dict(_base_.released, threshold=0.0, previous_loss="image_mean_released")
train_dataloader = dict(dataset=dict(split=dict(name="cps_city_1of8")))
train_cfg = dict(max_iters=78000)
