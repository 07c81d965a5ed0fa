# Nesterov SGD with a cosine from 0.03 to 1e-4, weight decay on everything. The published code lowers
# the rate once an epoch; here it falls with each iteration, and both agree where an epoch starts.
_base_ = "./sgd_poly.py"
max_iters = 8300
optim_wrapper = dict(
    optimizer=dict(
        _delete_=True, type="SGD", lr=0.03, momentum=0.9, nesterov=True, weight_decay=1e-5
    ),
    paramwise_cfg=dict(_delete_=True),
)
param_scheduler = [
    dict(
        type="CosineAnnealingLR",
        T_max=max_iters,
        eta_min=1e-4,
        begin=0,
        end=max_iters + 1,
        by_epoch=False,
    )
]
train_cfg = dict(max_iters=max_iters, val_interval=max_iters // 20)
