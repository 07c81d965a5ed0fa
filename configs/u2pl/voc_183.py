# U2PL on PASCAL VOC 2012, 183 labelled + 10,399 unlabelled images; 80 x 650 = 52,000 iterations.
# Published: 69.15 mIoU (README of the released code, best epoch).
_base_ = ["../_base_/data/voc_u2pl.py", "../_base_/methods/u2pl.py"]
model = dict(_base_.method, percent_iters=650, warmup_iters=650)
train_dataloader = dict(dataset=dict(split=dict(name="classic_voc_183")))
train_cfg = dict(max_iters=52000)
