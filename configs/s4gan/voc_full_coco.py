# s4GAN on all of PASCAL VOC 2012 from MS-COCO weights: 10,582 labelled images, which are the unlabelled ones as well, as released; 40,000 iterations.
# Published: none of s4GAN alone; with MLMT 75.6 [Q] (voc_full_coco_fused.py).
_base_ = ["../_base_/data/voc_s4gan.py", "../_base_/methods/s4gan.py"]
model = dict(_base_.method, data_preprocessor=_base_.coco_input, segmentor=_base_.coco)
optim_wrapper = _base_.optimizers
train_dataloader = dict(dataset=dict(split=None, unlabeled=dict(pool="all")))
