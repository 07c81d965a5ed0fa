# s4GAN on PASCAL VOC 2012 1/8 (split 0) from MS-COCO weights, 1,322 labelled + 9,260 unlabelled images; 40,000 iterations.
# Published: 69.8 mIoU [A]; with MLMT 71.4 [Q] (voc_1-8_coco_fused.py).
_base_ = ["../_base_/data/voc_s4gan.py", "../_base_/methods/s4gan.py"]
model = dict(_base_.method, data_preprocessor=_base_.coco_input, segmentor=_base_.coco)
optim_wrapper = _base_.optimizers
train_dataloader = dict(dataset=dict(split=dict(name="s4gan_voc_1of8")))
