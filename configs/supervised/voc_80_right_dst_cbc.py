# Baseline of one model of DMT on PASCAL VOC 2012 1/106, 80 of the 100 labelled images; 300 x 10 = 3,000 iterations.
_base_ = "../_base_/data/voc_dst_cbc.py"
train_dataloader = dict(dataset=dict(split=dict(name="dmt_voc_1of106_right")))
train_cfg = dict(max_iters=3000)
