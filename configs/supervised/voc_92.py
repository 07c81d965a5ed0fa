# Supervised baseline on 92 of the 1,464 VOC 2012 train images (partition of PseudoSeg), R50.
# The list is not shipped: download pseudoseg_labeled_1-16.txt of charlesCXK/TorchSemiSeg (folder
# DATA/pascal_voc/subset_train_aug) and import it, which checks its ids by hash:
#   python tools/splits.py import --protocol cps_voc_pseudoseg_1of16 \
#     --file-labeled pseudoseg_labeled_1-16.txt
# Total batch 8 labelled (2 on each of 4 GPUs), lr 0.0025, weight decay 4e-4, 39,660 iterations.
# Whole image, single scale, 1,449 val images, best checkpoint. No published number is at hand.
_base_ = "./voc_1-8.py"
max_iters = 39660
train_dataloader = dict(
    dataset=dict(
        split=dict(name="cps_voc_pseudoseg_1of16"),
        # All 10,582 train_aug images, as in the published run (an answer of the authors).
        unlabeled=dict(pool="all"),
    )
)
param_scheduler = [
    dict(type="PolyLR", power=0.9, eta_min=0.0, begin=0, end=max_iters + 1, by_epoch=False)
]
train_cfg = dict(max_iters=max_iters, val_interval=1322)
default_hooks = dict(checkpoint=dict(interval=1322))
