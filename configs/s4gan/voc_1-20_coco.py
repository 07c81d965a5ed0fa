# s4GAN on PASCAL VOC 2012 1/20 (split 0) from MS-COCO weights, 529 labelled + 10,053 unlabelled images; 40,000 iterations.
# Published: none of s4GAN alone; with MLMT 67.2 [Q] (voc_1-20_coco_fused.py).
_base_ = ["../_base_/data/voc_s4gan.py", "../_base_/methods/s4gan.py"]
model = dict(_base_.method, data_preprocessor=_base_.coco_input, segmentor=_base_.coco)
optim_wrapper = _base_.optimizers
train_dataloader = dict(dataset=dict(split=dict(name="s4gan_voc_1of20")))
