# Supervised on all of PASCAL VOC 2012 by the protocol of DST-CBC and DMT, 10,582 labelled; 30 x 1,323 = 39,690 iterations.
# Published: 73.5 mIoU [V]; mean of three runs, with squashed images; 74.75 without, of DMT.
_base_ = "../_base_/data/voc_dst_cbc.py"
train_dataloader = dict(dataset=dict(split=None))
train_cfg = dict(max_iters=39690)
