# CAC on PASCAL VOC 2012 1/16, 662 labelled + 9,920 unlabelled images; 80 x 1,157 = 92,560 iterations.
# Published: 70.1 mIoU [Q]; R101 72.4 [Q]; mean of three lists.
_base_ = ["../_base_/data/voc_cac.py", "../_base_/methods/cac.py"]
model = _base_.method
train_dataloader = dict(dataset=dict(split=dict(name="cac_voc_662_d0")))
