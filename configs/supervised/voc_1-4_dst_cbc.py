# Supervised baseline of DST-CBC and DMT on PASCAL VOC 2012 1/4, 2,645 labelled; 60 x 331 = 19,860 iterations.
# Published: 68.7 mIoU [V]; mean of three folds, with squashed images.
_base_ = "../_base_/data/voc_dst_cbc.py"
train_dataloader = dict(dataset=dict(split=dict(name="dstcbc_voc_1of4")))
train_cfg = dict(max_iters=19860)
