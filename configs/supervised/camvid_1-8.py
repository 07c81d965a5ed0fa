# Supervised baseline on CamVid, 1/8 of the labels (45 of 367), DeepLabv3+ R18 from random weights.
# One GPU: 8 labelled images, crop 320, SGD lr 0.05, 4,000 iterations; last checkpoint, 101 val images.
_base_ = [
    "../_base_/models/deeplabv3plus_r18.py",
    "../_base_/datasets/camvid.py",
    "../_base_/schedules/sgd_poly.py",
    "../_base_/default_runtime.py",
]
model = dict(data_preprocessor=dict(size=_base_.crop_size))
optim_wrapper = dict(optimizer=dict(lr=0.05))
default_hooks = dict(checkpoint=dict(interval=400))
