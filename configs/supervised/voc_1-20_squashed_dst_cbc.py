# voc_1-20_dst_cbc.py as the table of DST-CBC was made, images squashed; 530 labelled; 134 x 67 = 8,978 iterations.
# Published: 62.2 mIoU [V]; mean of three folds.
_base_ = "../_base_/data/voc_dst_cbc.py"
data = dict(_base_.squashed, split=dict(name="dstcbc_voc_1of20"))
train_dataloader = dict(dataset=data)
train_cfg = dict(max_iters=8978)
