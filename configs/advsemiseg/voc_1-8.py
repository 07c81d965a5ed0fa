# AdvSemiSeg on PASCAL VOC 2012 1/8, 1,322 labelled + 9,260 unlabelled images; 20,000 iterations.
# Published: 69.5 mIoU [Q] (Hung et al., BMVC 2018); 68.8 [V] in the paper's first version and for the released checkpoint.
_base_ = ["../_base_/data/voc_advsemiseg.py", "../_base_/methods/advsemiseg.py"]
model = _base_.method
optim_wrapper = _base_.optimizers
train_dataloader = dict(dataset=dict(split=dict(ratio=1 / 8)))
