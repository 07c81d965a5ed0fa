# Supervised baseline of UniMatch and FixMatch on COCO 1/128 (925 labelled, 117,362 unlabelled); all
# but labels and schedule as coco_1-512_unimatch.py, whose header says more (net, batch, lr,
# evaluation).
# The list is not shipped: download splits/coco/1_128/labeled.txt of LiheYoung/UniMatch and import
# it, which checks its ids by hash:
#   python tools/splits.py import --protocol unimatch_coco_1of128 --file-labeled labeled.txt
# 440,100 iterations (30 passes of 14,670 over the unlabelled images).
_base_ = "./coco_1-512_unimatch.py"
max_iters = 440100
train_dataloader = dict(dataset=dict(split=dict(name="unimatch_coco_1of128")))
param_scheduler = [
    dict(type="PolyLR", power=0.9, eta_min=0.0, begin=0, end=max_iters + 1, by_epoch=False)
]
train_cfg = dict(max_iters=max_iters, val_interval=14670)
default_hooks = dict(checkpoint=dict(interval=14670))
