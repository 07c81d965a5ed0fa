# UniMatch V2 on the built-in set. 1,200 iterations from random weights: a teacher that follows faster, and a lower threshold.
_base_ = ["../_base_/data/shapes.py", "../_base_/methods/unimatch_v2.py"]
model = dict(_base_.method, strong=_base_.strong, threshold=0.7, rampup_iters=500, momentum=0.02)
