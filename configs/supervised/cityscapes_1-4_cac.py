# Supervised baseline of CAC on Cityscapes 1/4, 744 labelled; 80 x 1,157 = 92,560 iterations.
# Published: 70.7 mIoU [R]; mean of three lists.
_base_ = "../_base_/data/cityscapes_cac.py"
train_dataloader = dict(
    sampler=dict(num_per_source=dict(unlabeled=0)), dataset=dict(split=dict(name="cac_city_744_d0"))
)
