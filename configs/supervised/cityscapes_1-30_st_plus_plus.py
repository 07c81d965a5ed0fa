# Supervised baseline of ST and ST++ on Cityscapes 1/30, 100 labelled; 240 x 12 = 2,880 iterations.
# Published: none is at hand.
_base_ = "../_base_/data/cityscapes_st_plus_plus.py"
train_dataloader = dict(dataset=dict(split=dict(name="unimatch_city_1of30")))
train_cfg = dict(max_iters=2880)
