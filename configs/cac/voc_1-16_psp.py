# CAC with PSPNet on PASCAL VOC 2012 1/16, 662 labelled + 9,920 unlabelled images; 80 x 1,157 = 92,560 iterations.
# Published: 67.1 mIoU [R]; mean of three lists.
_base_ = ["../_base_/data/voc_cac.py", "../_base_/methods/cac.py"]
model = dict(_base_.method, segmentor=_base_.pspnet)
train_dataloader = dict(dataset=dict(split=dict(name="cac_voc_662_d0")))
