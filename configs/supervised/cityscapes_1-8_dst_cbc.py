# Supervised baseline of DST-CBC and DMT on Cityscapes 1/8, 371 labelled; 170 x 47 = 7,990 iterations.
# Published: 56.7 mIoU [V] (half the size); mean of three folds, with squashed images; 59.65 without, of DMT.
_base_ = "../_base_/data/cityscapes_dst_cbc.py"
train_dataloader = dict(dataset=dict(split=dict(name="dstcbc_city_1of8")))
train_cfg = dict(max_iters=7990)
