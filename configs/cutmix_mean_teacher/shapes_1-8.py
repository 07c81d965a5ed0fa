# CutMix mean teacher on the built-in set. With the published weight 1, threshold 0.97 and momentum 0.01 the loss hardly pulls (docs/results/builtin.md).
_base_ = ["../_base_/data/shapes.py", "../_base_/methods/cutmix_mean_teacher.py"]
model = dict(
    _base_.method, unsup_weight=10.0, rampup_iters=500, confidence_threshold=0.8, momentum=0.02
)
train_dataloader = dict(sampler=dict(num_per_source=dict(unlabeled=16)))
