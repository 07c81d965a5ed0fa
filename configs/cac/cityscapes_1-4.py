# CAC on Cityscapes 1/4, 744 labelled + 2,231 unlabelled images; 80 x 1,157 = 92,560 iterations.
# Published: 72.7 mIoU [Q]; mean of three lists.
_base_ = ["../_base_/data/cityscapes_cac.py", "../_base_/methods/cac.py"]
model = _base_.on_cityscapes
train_dataloader = dict(dataset=dict(split=dict(name="cac_city_744_d0")))
