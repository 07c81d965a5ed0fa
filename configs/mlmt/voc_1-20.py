# MLMT on PASCAL VOC 2012 1/20 (split 0 of s4GAN), 529 labelled + 10,053 unlabelled images; 100 x 34 = 3,400 iterations.
# Published: none of the classifier alone; its fusion with s4GAN: s4gan/voc_1-20_fused.py.
_base_ = ["../_base_/data/voc_mlmt.py", "../_base_/methods/mlmt.py"]
model = dict(_base_.method, epochs=100, epoch_iters=34)
train_dataloader = dict(dataset=dict(split=dict(name="s4gan_voc_1of20")))
train_cfg = dict(max_iters=3400)
