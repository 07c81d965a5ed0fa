# Supervised baseline of DST-CBC and DMT on Cityscapes 1/4, 743 labelled; 120 x 93 = 11,160 iterations.
# Published: 61.1 mIoU [V] (half the size); mean of three folds, with squashed images.
_base_ = "../_base_/data/cityscapes_dst_cbc.py"
train_dataloader = dict(dataset=dict(split=dict(name="dstcbc_city_1of4")))
train_cfg = dict(max_iters=11160)
