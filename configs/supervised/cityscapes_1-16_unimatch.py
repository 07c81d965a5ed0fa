# Supervised baseline of UniMatch and FixMatch on Cityscapes 1/16 (186 labelled, 2,789 unlabelled),
# DeepLabv3+ R101, crop 801.
#   tools/dist_train.sh configs/supervised/cityscapes_1-16_unimatch.py 4
# The split is that of CPS. Import the list it is drawn from once, for all ratios (train.txt:
# DATA/city/config_new/train.txt of charlesCXK/TorchSemiSeg; checked by hash):
#   python tools/splits.py import --master city_cps train.txt
# Net, weak augmentation, OHEM and schedule of UniMatch V1 (Yang et al., CVPR 2023), without its
# method. min_kept is for the labelled batch of one GPU, 2 images here as published: with another
# number of images a GPU, change it in proportion.
# Total batch 8 labelled (2 on each of 4 GPUs, SyncBN), SGD lr 0.005 for backbone and head, weight
# decay 1e-4, 83,760 iterations (240 passes of 349 over the unlabelled images). Evaluation: sliding
# window 801 / 534, single scale, 500 val images, best checkpoint. The window averages logits; the
# released code sums probabilities. No published number of this baseline is at hand.
_base_ = [
    "../_base_/models/deeplabv3plus_r101_unimatch.py",
    "../_base_/datasets/unimatch_cityscapes.py",
    "../_base_/schedules/sgd_poly.py",
    "../_base_/default_runtime.py",
]
max_iters = 83760
model = dict(
    data_preprocessor=dict(size=_base_.crop_size),
    segmentor=dict(
        decode_head=dict(
            num_classes=19,
            # For the labelled batch of one GPU, however many images that is.
            loss_decode=dict(
                _delete_=True, type="ProbOhemCrossEntropy", thresh=0.7, min_kept=200000
            ),
        ),
        test_cfg=dict(mode="slide", crop_size=(801, 801), stride=(534, 534)),
    ),
)
train_dataloader = dict(
    dataset=dict(split=dict(_delete_=True, type="PublishedSplit", name="cps_city_1of16"))
)
# One learning rate, and weight decay on everything, norms and biases included.
optim_wrapper = dict(optimizer=dict(lr=0.005, weight_decay=1e-4), paramwise_cfg=dict(_delete_=True))
param_scheduler = [
    dict(type="PolyLR", power=0.9, eta_min=0.0, begin=0, end=max_iters + 1, by_epoch=False)
]
train_cfg = dict(max_iters=max_iters, val_interval=349)
default_hooks = dict(checkpoint=dict(interval=349))
auto_scale_lr = dict(enable=False, base_batch_size=8)
