# Supervised baseline of CAC on PASCAL VOC 2012 1/16, 662 labelled; 80 x 1,157 = 92,560 iterations.
# Published: 63.9 mIoU [R]; R101 66.4 [R]; mean of three lists.
_base_ = "../_base_/data/voc_cac.py"
train_dataloader = dict(
    sampler=dict(num_per_source=dict(unlabeled=0)), dataset=dict(split=dict(name="cac_voc_662_d0"))
)
