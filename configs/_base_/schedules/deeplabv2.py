# SGD of DeepLabv2 as AdvSemiSeg and s4GAN train it: the head learns 10 times as fast, weight decay on
# everything that is trained, poly 0.9 over 40,000 iterations.
_base_ = "./sgd_poly.py"
max_iters = 40000
optim_wrapper = dict(
    optimizer=dict(lr=2.5e-4, weight_decay=5e-4),
    paramwise_cfg=dict(_delete_=True, custom_keys=dict(decode_head=dict(lr_mult=10))),
)
param_scheduler = [
    dict(type="PolyLR", power=0.9, eta_min=0.0, begin=0, end=max_iters + 1, by_epoch=False)
]
train_cfg = dict(max_iters=max_iters, val_interval=5000)
