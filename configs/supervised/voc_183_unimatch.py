# Supervised baseline of UniMatch and FixMatch on PASCAL VOC 2012 train_aug, 183 labelled and 10,399
# unlabelled images; all but labels and schedule as voc_92_unimatch.py, whose header says more (net,
# batch, lr, evaluation).
# The list is not shipped: download splits/pascal/183/labeled.txt of LiheYoung/UniMatch and import
# it, which checks its ids by hash:
#   python tools/splits.py import --protocol classic_voc_183 --file-labeled labeled.txt
# 104,000 iterations (80 passes of 1,300 over the unlabelled images).
_base_ = "./voc_92_unimatch.py"
max_iters = 104000
train_dataloader = dict(dataset=dict(split=dict(name="classic_voc_183")))
param_scheduler = [
    dict(type="PolyLR", power=0.9, eta_min=0.0, begin=0, end=max_iters + 1, by_epoch=False)
]
train_cfg = dict(max_iters=max_iters, val_interval=1300)
default_hooks = dict(checkpoint=dict(interval=1300))
