# Supervised baseline of DST-CBC and DMT on PASCAL VOC 2012 1/50, 211 labelled; 212 x 27 = 5,724 iterations.
# Published: 55.4 mIoU [V]; mean of three folds, with squashed images; 55.62 without, of DMT.
_base_ = "../_base_/data/voc_dst_cbc.py"
train_dataloader = dict(dataset=dict(split=dict(name="dstcbc_voc_1of50")))
train_cfg = dict(max_iters=5724)
