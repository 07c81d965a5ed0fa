# CAC on PASCAL VOC 2012 1/4, 2,645 labelled + 7,937 unlabelled images; 80 x 1,157 = 92,560 iterations.
# Published: 74.0 mIoU [Q]; R101 76.3 [Q]; mean of three lists.
_base_ = ["../_base_/data/voc_cac.py", "../_base_/methods/cac.py"]
model = _base_.method
train_dataloader = dict(dataset=dict(split=dict(name="cac_voc_2645_d0")))
