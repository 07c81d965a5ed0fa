# U2PL on PASCAL VOC 2012, 92 labelled + 10,490 unlabelled images; 80 x 655 = 52,400 iterations.
# Published: 67.98 mIoU (README of the released code, best epoch).
_base_ = ["../_base_/data/voc_u2pl.py", "../_base_/methods/u2pl.py"]
model = dict(_base_.method, percent_iters=655, warmup_iters=655)
train_dataloader = dict(dataset=dict(split=dict(name="classic_voc_92")))
train_cfg = dict(max_iters=52400)
