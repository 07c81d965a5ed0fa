# PrevMatch on UniMatch V1 and the built-in set: its settings there, and an earlier network every 60 of 1,200 iterations.
_base_ = ["../_base_/data/shapes.py", "../_base_/methods/prevmatch.py"]
model = dict(_base_.method, strong=_base_.strong, rampup_iters=500, labeled_forward="alone")
