# CAC with PSPNet on PASCAL VOC 2012 1/4, 2,645 labelled + 7,937 unlabelled images; 80 x 1,157 = 92,560 iterations.
# Published: 72.5 mIoU [R]; mean of three lists.
_base_ = ["../_base_/data/voc_cac.py", "../_base_/methods/cac.py"]
model = dict(_base_.method, segmentor=_base_.pspnet)
train_dataloader = dict(dataset=dict(split=dict(name="cac_voc_2645_d0")))
