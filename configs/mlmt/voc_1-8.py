# MLMT on PASCAL VOC 2012 1/8 (split 0 of s4GAN), 1,322 labelled + 9,260 unlabelled images; 100 x 83 = 8,300 iterations.
# Published: none of the classifier alone; its fusion with s4GAN: s4gan/voc_1-8_fused.py.
_base_ = ["../_base_/data/voc_mlmt.py", "../_base_/methods/mlmt.py"]
model = dict(_base_.method, epochs=100, epoch_iters=83)
train_dataloader = dict(dataset=dict(split=dict(name="s4gan_voc_1of8")))
train_cfg = dict(max_iters=8300)
