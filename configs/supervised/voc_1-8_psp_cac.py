# Supervised baseline of CAC with PSPNet on PASCAL VOC 2012 1/8, 1,323 labelled; 80 x 1,157 = 92,560 iterations.
# Published: 65.0 mIoU [R]; mean of three lists.
_base_ = "../_base_/data/voc_cac.py"
model = dict(segmentor=_base_.pspnet)
train_dataloader = dict(
    sampler=dict(num_per_source=dict(unlabeled=0)), dataset=dict(split=dict(name="cac_voc_1323_d0"))
)
