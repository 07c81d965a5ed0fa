# Mean teacher on the built-in set. With one view for both networks, as released, random weights hold the student back (docs/results/builtin.md);
# 1,200 iterations need a teacher that follows faster than in 40,000.
_base_ = ["../_base_/data/shapes.py", "../_base_/methods/mean_teacher.py"]
model = dict(_base_.method, strong=_base_.strong, consistency_on_labeled=False)
model.update(unsup_weight=10.0, rampup_iters=500, momentum=0.02)
