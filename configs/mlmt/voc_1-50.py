# MLMT on PASCAL VOC 2012 1/50 (split 0 of s4GAN), 211 labelled + 10,371 unlabelled images; 100 x 14 = 1,400 iterations.
# Published: none of the classifier alone; its fusion with s4GAN: s4gan/voc_1-50_fused.py.
_base_ = ["../_base_/data/voc_mlmt.py", "../_base_/methods/mlmt.py"]
model = dict(_base_.method, epochs=100, epoch_iters=14)
train_dataloader = dict(dataset=dict(split=dict(name="s4gan_voc_1of50")))
train_cfg = dict(max_iters=1400)
