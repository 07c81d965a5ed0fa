# Supervised baseline of DST-CBC and DMT on PASCAL VOC 2012 1/106, 100 labelled; 300 x 13 = 3,900 iterations.
# Published: 45.7 mIoU [V]; mean of three folds, with squashed images; 46.66 without, of DMT.
_base_ = "../_base_/data/voc_dst_cbc.py"
train_dataloader = dict(dataset=dict(split=dict(name="dstcbc_voc_1of106")))
train_cfg = dict(max_iters=3900)
