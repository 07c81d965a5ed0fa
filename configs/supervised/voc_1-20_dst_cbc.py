# Supervised baseline of DST-CBC and DMT on PASCAL VOC 2012 1/20, 530 labelled; 134 x 67 = 8,978 iterations.
# Published: 62.2 mIoU [V]; mean of three folds, with squashed images; 62.29 without, of DMT.
_base_ = "../_base_/data/voc_dst_cbc.py"
train_dataloader = dict(dataset=dict(split=dict(name="dstcbc_voc_1of20")))
train_cfg = dict(max_iters=8978)
