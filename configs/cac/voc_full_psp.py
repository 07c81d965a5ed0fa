# CAC with PSPNet on PASCAL VOC 2012, all 10,582 images labelled, and unlabelled once more; 80 x 1,157 = 92,560 iterations.
# Published: 76.4 mIoU [R].
_base_ = ["../_base_/data/voc_cac.py", "../_base_/methods/cac.py"]
model = dict(_base_.method, segmentor=_base_.pspnet)
train_dataloader = dict(dataset=dict(split=None, unlabeled=dict(pool="all")))
