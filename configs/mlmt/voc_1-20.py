# MLMT on PASCAL VOC 2012 train_aug 1/20, 529 labelled and 10,053 unlabelled images (split 0 of s4GAN).
#   python tools/train.py configs/mlmt/voc_1-20.py
# The list is not shipped: download splits/voc/split_0.pkl of sud0301/semisup-semseg and import it,
# which checks its ids by hash:
#   python tools/splits.py import --protocol s4gan_voc_1of20 --file-labeled split_0.pkl
# ResNet-101 from ImageNet weights, whole images at 320x320. One GPU: 16 labelled + 80 unlabelled
# images, Nesterov SGD lr 0.03, weight decay 1e-5, cosine to 1e-4, 3,400 iterations (100 passes of
# 34 over the labelled images). The last validation writes the teacher's scores of the 1,449 val
# images for configs/s4gan/voc_1-20_fused.py. No published number of the classifier alone is at hand.
_base_ = "./voc_1-8.py"
epochs, epoch_iters = 100, 34
max_iters = epochs * epoch_iters
model = dict(semi_train_cfg=dict(epoch_iters=epoch_iters))
train_dataloader = dict(dataset=dict(split=dict(name="s4gan_voc_1of20")))
val_evaluator = dict(out_file="work_dirs/mlmt/voc_1-20/scores.npz")
test_evaluator = val_evaluator
param_scheduler = [
    dict(
        type="CosineAnnealingLR",
        T_max=max_iters,
        eta_min=1e-4,
        begin=0,
        end=max_iters + 1,
        by_epoch=False,
    )
]
train_cfg = dict(max_iters=max_iters, val_interval=5 * epoch_iters)
default_hooks = dict(checkpoint=dict(interval=5 * epoch_iters))
