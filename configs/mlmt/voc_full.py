# MLMT on all of PASCAL VOC 2012, 10,582 labelled images: the labels alone, as none is unlabelled; 100 x 662 = 66,200 iterations.
# Published: none of the classifier alone; its fusion with s4GAN: s4gan/voc_full_fused.py.
_base_ = ["../_base_/data/voc_mlmt.py", "../_base_/methods/mlmt.py"]
model = dict(_base_.method, epochs=100, epoch_iters=662)
train_dataloader = dict(sampler=dict(num_per_source=dict(unlabeled=0)), dataset=dict(split=None))
train_cfg = dict(max_iters=66200)
