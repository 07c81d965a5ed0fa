# Supervised baseline of DST-CBC and DMT on PASCAL VOC 2012 1/8, 1,322 labelled; 85 x 166 = 14,110 iterations.
# Published: 66.2 mIoU [V]; mean of three folds, with squashed images; 67.37 without, of DMT.
_base_ = "../_base_/data/voc_dst_cbc.py"
train_dataloader = dict(dataset=dict(split=dict(name="dstcbc_voc_1of8")))
train_cfg = dict(max_iters=14110)
