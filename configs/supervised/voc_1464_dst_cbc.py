# Supervised baseline of DMT on PASCAL VOC 2012, 1,464 labelled; 85 x 183 = 15,555 iterations.
# Published: 72.10 mIoU [V].
_base_ = "../_base_/data/voc_dst_cbc.py"
train_dataloader = dict(dataset=dict(split=dict(name="classic_voc_1464", fold=None)))
train_cfg = dict(max_iters=15555)
