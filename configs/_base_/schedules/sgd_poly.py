# SGD with polynomial decay (1 - t/T)^0.9; the child sets lr and T.
# PolyLR reaches its end one step early, so that its `end` is T + 1.
max_iters = 4000
optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="SGD", lr=0.01, momentum=0.9, weight_decay=1e-4),
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0),
)
param_scheduler = [
    dict(type="PolyLR", power=0.9, eta_min=0.0, begin=0, end=max_iters + 1, by_epoch=False)
]
train_cfg = dict(type="SemiIterBasedTrainLoop", max_iters=max_iters, val_interval=max_iters // 10)
val_cfg = dict(type="TeacherStudentValLoop", interval=5)
test_cfg = dict(type="TestLoop")
