# U2PL on PASCAL VOC 2012, 732 labelled + 9,850 unlabelled images; 80 x 615 = 49,200 iterations.
# Published: 76.16 mIoU (README of the released code, best epoch).
_base_ = ["../_base_/data/voc_u2pl.py", "../_base_/methods/u2pl.py"]
model = dict(_base_.method, percent_iters=615, warmup_iters=615)
train_dataloader = dict(dataset=dict(split=dict(name="classic_voc_732")))
train_cfg = dict(max_iters=49200)
