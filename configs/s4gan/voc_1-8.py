# s4GAN on PASCAL VOC 2012 1/8 (split 0), 1,322 labelled + 9,260 unlabelled images; 40,000 iterations.
# Published: 65.4 mIoU [A] (Mittal et al., TPAMI 2021; mean of 3 splits; the released commands evaluate iteration 30,000); with MLMT 67.3 [R] (voc_1-8_fused.py).
_base_ = ["../_base_/data/voc_s4gan.py", "../_base_/methods/s4gan.py"]
model = _base_.method
optim_wrapper = _base_.optimizers
train_dataloader = dict(dataset=dict(split=dict(name="s4gan_voc_1of8")))
