# UniMatch V1 on the built-in set. Batch-norm statistics that labelled images share with the weak views cost 8 points here, even without
# any unsupervised loss (docs/results/builtin.md).
_base_ = ["../_base_/data/shapes.py", "../_base_/methods/unimatch.py"]
model = dict(_base_.method, strong=_base_.strong, rampup_iters=500, labeled_forward="alone")
