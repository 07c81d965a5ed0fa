# Supervised baseline of ST and ST++ on Cityscapes 1/8, 372 labelled; 240 x 23 = 5,520 iterations.
# Published: none is at hand.
_base_ = "../_base_/data/cityscapes_st_plus_plus.py"
train_dataloader = dict(dataset=dict(split=dict(name="cac_city_372_d0")))
train_cfg = dict(max_iters=5520)
