# Supervised baseline of ST and ST++ on PASCAL VOC 2012, 183 labelled; 80 x 22 = 1,760 iterations.
# Published: none is at hand.
_base_ = "../_base_/data/voc_st_plus_plus.py"
model = dict(segmentor=_base_.r101)
train_dataloader = dict(dataset=dict(split=dict(name="classic_voc_183")))
train_cfg = dict(max_iters=1760)
