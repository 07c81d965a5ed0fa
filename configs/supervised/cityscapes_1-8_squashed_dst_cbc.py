# cityscapes_1-8_dst_cbc.py as the table of DST-CBC was made, images squashed; 371 labelled; 170 x 47 = 7,990 iterations.
# Published: 56.7 mIoU [V] (half the size); mean of three folds.
_base_ = "../_base_/data/cityscapes_dst_cbc.py"
data = dict(_base_.squashed, split=dict(name="dstcbc_city_1of8"))
train_dataloader = dict(dataset=data)
train_cfg = dict(max_iters=7990)
