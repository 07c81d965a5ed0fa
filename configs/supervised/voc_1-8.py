# Supervised baseline on PASCAL VOC 2012 train_aug 1/8 (1,323 labelled), DeepLabv3+ R50.
#   tools/dist_train.sh configs/supervised/voc_1-8.py 4
# Total batch 8 labelled (2 on each of 4 GPUs), SGD lr 0.0025, weight decay 4e-4, 39,338 iterations.
# lr and weight decay are what the released CPS code effectively uses: it divides gradients by the
# number of GPUs twice. Evaluation: whole image, single scale, 1,449 val images, best checkpoint.
# Published for this baseline: 69.43 mIoU (CPS paper, R50, quoted).
_base_ = [
    "../_base_/models/deeplabv3plus_r50.py",
    "../_base_/datasets/voc_aug.py",
    "../_base_/schedules/sgd_poly.py",
    "../_base_/default_runtime.py",
]
max_iters = 39338
model = dict(
    data_preprocessor=dict(size=_base_.crop_size, test_cfg=dict(size=_base_.crop_size)),
)
optim_wrapper = dict(optimizer=dict(lr=0.0025, weight_decay=4e-4))
param_scheduler = [
    dict(type="PolyLR", power=0.9, eta_min=0.0, begin=0, end=max_iters + 1, by_epoch=False)
]
train_cfg = dict(max_iters=max_iters, val_interval=1157)
default_hooks = dict(checkpoint=dict(interval=1157))
auto_scale_lr = dict(enable=False, base_batch_size=8)
