# Supervised baseline of DST-CBC and DMT on Cityscapes 1/30, 100 labelled; 330 x 13 = 4,290 iterations.
# Published: 45.5 mIoU [V] (half the size); mean of three folds, with squashed images; 49.54 without, of DMT.
_base_ = "../_base_/data/cityscapes_dst_cbc.py"
train_dataloader = dict(dataset=dict(split=dict(name="dstcbc_city_1of30")))
train_cfg = dict(max_iters=4290)
