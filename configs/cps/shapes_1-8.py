# CPS+CutMix on the built-in set: 8 unlabelled images give 4 mixed ones. Without a ramp-up two random nets agree on "all background"
# first; strong views gain three points (docs/results/builtin.md).
_base_ = ["../_base_/data/shapes.py", "../_base_/methods/cps.py"]
model = dict(_base_.method, strong=_base_.strong, mix=dict(type="CutMix"))
model.update(unsup_weight=0.3, rampup_iters=500)
