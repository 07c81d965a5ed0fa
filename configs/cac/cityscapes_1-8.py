# CAC on Cityscapes 1/8, 372 labelled + 2,603 unlabelled images; 80 x 1,157 = 92,560 iterations.
# Published: 69.7 mIoU [Q]; mean of three lists.
_base_ = ["../_base_/data/cityscapes_cac.py", "../_base_/methods/cac.py"]
model = _base_.on_cityscapes
train_dataloader = dict(dataset=dict(split=dict(name="cac_city_372_d0")))
