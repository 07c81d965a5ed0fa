# Supervised baseline of CAC with PSPNet on PASCAL VOC 2012, all 10,582 images labelled; 80 x 1,157 = 92,560 iterations.
# Published: 75.1 mIoU [R].
_base_ = "../_base_/data/voc_cac.py"
model = dict(segmentor=_base_.pspnet)
train_dataloader = dict(
    sampler=dict(num_per_source=dict(unlabeled=0)),
    dataset=dict(split=None, unlabeled=dict(pool="all")),
)
