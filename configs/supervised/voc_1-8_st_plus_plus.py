# Supervised baseline of ST and ST++ on PASCAL VOC 2012 1/8, 1,323 labelled; 80 x 82 = 6,560 iterations.
# Published: none is at hand.
_base_ = "../_base_/data/voc_st_plus_plus.py"
train_dataloader = dict(dataset=dict(split=dict(name="cac_voc_1323_d0")))
train_cfg = dict(max_iters=6560)
