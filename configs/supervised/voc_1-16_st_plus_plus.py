# Supervised baseline of ST and ST++ on PASCAL VOC 2012 1/16, 662 labelled; 80 x 41 = 3,280 iterations.
# Published: none is at hand.
_base_ = "../_base_/data/voc_st_plus_plus.py"
train_dataloader = dict(dataset=dict(split=dict(name="cac_voc_662_d0")))
train_cfg = dict(max_iters=3280)
