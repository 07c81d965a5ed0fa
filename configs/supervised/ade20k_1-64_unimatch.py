# Supervised baseline of UniMatch and FixMatch on ADE20K 1/64 (316 labelled, 19,894 unlabelled),
# DeepLabv3+ R101, crop 513.
#   tools/dist_train.sh configs/supervised/ade20k_1-64_unimatch.py 4
# The split is computed (a seeded shuffle, UniMatch V2); nothing to import.
# UniMatch publishes no convolutional net on ADE20K: the settings are ours, after its VOC settings
# (crop 513, 60 passes over the unlabelled images as in V2).
# Total batch 8 labelled (2 on each of 4 GPUs, SyncBN), SGD lr 0.001 for the backbone and 0.01 for
# the head, weight decay 1e-4, 149,220 iterations (60 passes of 2,487 over the unlabelled images).
# Evaluation: whole image, single scale, 2,000 val images, best checkpoint. No published number of
# this baseline is at hand.
_base_ = [
    "../_base_/models/deeplabv3plus_r101_unimatch.py",
    "../_base_/datasets/unimatch_ade20k.py",
    "../_base_/schedules/sgd_poly.py",
    "../_base_/default_runtime.py",
]
max_iters = 149220
model = dict(
    data_preprocessor=dict(size=_base_.crop_size),
    segmentor=dict(decode_head=dict(num_classes=150)),
)
train_dataloader = dict(
    dataset=dict(split=dict(_delete_=True, type="PublishedSplit", name="v2_ade_1of64"))
)
# Weight decay on everything, norms and biases included.
optim_wrapper = dict(
    optimizer=dict(lr=0.01, weight_decay=1e-4),
    paramwise_cfg=dict(_delete_=True, custom_keys=dict(backbone=dict(lr_mult=0.1))),
)
param_scheduler = [
    dict(type="PolyLR", power=0.9, eta_min=0.0, begin=0, end=max_iters + 1, by_epoch=False)
]
train_cfg = dict(max_iters=max_iters, val_interval=2487)
default_hooks = dict(checkpoint=dict(interval=2487))
auto_scale_lr = dict(enable=False, base_batch_size=8)
