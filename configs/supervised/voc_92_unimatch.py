# Supervised baseline of UniMatch and FixMatch on PASCAL VOC 2012 train_aug, 92 labelled and 10,490
# unlabelled images, DeepLabv3+ R101, crop 321.
#   tools/dist_train.sh configs/supervised/voc_92_unimatch.py 4
# The list is not shipped: download splits/pascal/92/labeled.txt of LiheYoung/UniMatch and import
# it, which checks its ids by hash:
#   python tools/splits.py import --protocol classic_voc_92 --file-labeled labeled.txt
# Net, weak augmentation and schedule of UniMatch V1 (Yang et al., CVPR 2023), without its method.
# Total batch 8 labelled (2 on each of 4 GPUs, SyncBN), SGD lr 0.001 for the backbone and 0.01 for
# the head, weight decay 1e-4, 104,880 iterations (80 passes of 1,311 over the unlabelled images).
# Evaluation: whole image, single scale, 1,449 val images, best checkpoint. No published number of
# this baseline is at hand.
_base_ = [
    "../_base_/models/deeplabv3plus_r101_unimatch.py",
    "../_base_/datasets/unimatch_voc.py",
    "../_base_/schedules/sgd_poly.py",
    "../_base_/default_runtime.py",
]
max_iters = 104880
model = dict(data_preprocessor=dict(size=_base_.crop_size))
train_dataloader = dict(dataset=dict(split=dict(name="classic_voc_92")))
# Weight decay on everything, norms and biases included.
optim_wrapper = dict(
    optimizer=dict(lr=0.01, weight_decay=1e-4),
    paramwise_cfg=dict(_delete_=True, custom_keys=dict(backbone=dict(lr_mult=0.1))),
)
param_scheduler = [
    dict(type="PolyLR", power=0.9, eta_min=0.0, begin=0, end=max_iters + 1, by_epoch=False)
]
train_cfg = dict(max_iters=max_iters, val_interval=1311)
default_hooks = dict(checkpoint=dict(interval=1311))
auto_scale_lr = dict(enable=False, base_batch_size=8)
