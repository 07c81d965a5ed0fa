# Supervised baseline on Cityscapes 1/8 (372 labelled of 2,975), DeepLabv3+ R50, crop 800.
#   tools/dist_train.sh configs/supervised/cityscapes_1-8.py 8
# CPS takes every k-th image of a list whose order nothing reproduces. Import that list once, for all
# ratios (train.txt: DATA/city/config_new/train.txt of charlesCXK/TorchSemiSeg; checked by hash):
#   python tools/splits.py import --master city_cps train.txt
# Without it, a random eighth:
#   --cfg-options train_dataloader.dataset.split._delete_=True \
#     train_dataloader.dataset.split.type=RatioSplit train_dataloader.dataset.split.ratio=0.125
# Total batch 8 labelled (1 on each of 8 GPUs, SyncBN), SGD lr 0.0025, weight decay 8e-4 (effective
# values of the released code), 44,525 iterations (137 epochs), OHEM. Evaluation: sliding window 800,
# stride 534, single scale, 500 val images, best checkpoint.
# Published for this baseline: 70.32 mIoU (derived from the CPS paper's gains).
_base_ = [
    "../_base_/models/deeplabv3plus_r50.py",
    "../_base_/datasets/cityscapes.py",
    "../_base_/schedules/sgd_poly.py",
    "../_base_/default_runtime.py",
]
max_iters = 44525
model = dict(
    data_preprocessor=dict(size=_base_.crop_size),
    segmentor=dict(
        decode_head=dict(
            num_classes=19,
            # 50,000 for each labelled image on the GPU.
            loss_decode=dict(
                _delete_=True, type="ProbOhemCrossEntropy", thresh=0.7, min_kept=50000
            ),
        ),
        test_cfg=dict(mode="slide", crop_size=(800, 800), stride=(534, 534)),
    ),
)
optim_wrapper = dict(optimizer=dict(lr=0.0025, weight_decay=8e-4))
param_scheduler = [
    dict(type="PolyLR", power=0.9, eta_min=0.0, begin=0, end=max_iters + 1, by_epoch=False)
]
train_cfg = dict(max_iters=max_iters, val_interval=1625)
default_hooks = dict(checkpoint=dict(interval=1625))
auto_scale_lr = dict(enable=False, base_batch_size=8)
