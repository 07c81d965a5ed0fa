# AugSeg on the built-in set. 1,200 iterations from random weights: a teacher that follows faster, and a lower threshold. A forward that
# labelled images share with the mixed views costs 8 points here (docs/results/builtin.md).
_base_ = ["../_base_/data/shapes.py", "../_base_/methods/augseg.py"]
model = dict(_base_.method, threshold=0.7, rampup_iters=500, labeled_forward="alone")
model.update(momentum=0.02)
