# Baseline of one model of DMT on PASCAL VOC 2012 1/50, 168 of the 211 labelled images; 212 x 21 = 4,452 iterations.
_base_ = "../_base_/data/voc_dst_cbc.py"
train_dataloader = dict(dataset=dict(split=dict(name="dmt_voc_1of50_right")))
train_cfg = dict(max_iters=4452)
