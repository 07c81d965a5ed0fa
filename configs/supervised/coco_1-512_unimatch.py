# Supervised baseline of UniMatch and FixMatch on COCO 1/512 (232 labelled, 118,055 unlabelled),
# DeepLabv3+ R101, crop 513.
#   tools/dist_train.sh configs/supervised/coco_1-512_unimatch.py 4
# The list is not shipped: download splits/coco/1_512/labeled.txt of LiheYoung/UniMatch and import
# it, which checks its ids by hash:
#   python tools/splits.py import --protocol unimatch_coco_1of512 --file-labeled labeled.txt
# Weak augmentation and schedule of UniMatch V1 (Yang et al., CVPR 2023), without its method. The
# net is ResNet-101 where the published one is Xception-65, which mmseg does not have: numbers are
# not comparable.
# Total batch 8 labelled (2 on each of 4 GPUs, SyncBN), SGD lr 0.004 for the backbone and 0.04 for
# the head, weight decay 1e-4, 442,710 iterations (30 passes of 14,757 over the unlabelled images).
# Evaluation: whole image, single scale, 5,000 val images, best checkpoint. No published number of
# this baseline is at hand.
_base_ = [
    "../_base_/models/deeplabv3plus_r101_unimatch.py",
    "../_base_/datasets/unimatch_coco.py",
    "../_base_/schedules/sgd_poly.py",
    "../_base_/default_runtime.py",
]
max_iters = 442710
model = dict(
    data_preprocessor=dict(size=_base_.crop_size),
    segmentor=dict(decode_head=dict(num_classes=81)),
)
train_dataloader = dict(
    dataset=dict(split=dict(_delete_=True, type="PublishedSplit", name="unimatch_coco_1of512"))
)
# Weight decay on everything, norms and biases included.
optim_wrapper = dict(
    optimizer=dict(lr=0.04, weight_decay=1e-4),
    paramwise_cfg=dict(_delete_=True, custom_keys=dict(backbone=dict(lr_mult=0.1))),
)
param_scheduler = [
    dict(type="PolyLR", power=0.9, eta_min=0.0, begin=0, end=max_iters + 1, by_epoch=False)
]
train_cfg = dict(max_iters=max_iters, val_interval=14757)
default_hooks = dict(checkpoint=dict(interval=14757))
auto_scale_lr = dict(enable=False, base_batch_size=8)
