# s4GAN on PASCAL VOC 2012 1/50 (split 0) from MS-COCO weights, 211 labelled + 10,371 unlabelled images; 40,000 iterations.
# Published: none of s4GAN alone; with MLMT 63.3 [Q] (voc_1-50_coco_fused.py).
_base_ = ["../_base_/data/voc_s4gan.py", "../_base_/methods/s4gan.py"]
model = dict(_base_.method, data_preprocessor=_base_.coco_input, segmentor=_base_.coco)
optim_wrapper = _base_.optimizers
train_dataloader = dict(dataset=dict(split=dict(name="s4gan_voc_1of50")))
