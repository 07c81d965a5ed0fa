# Supervised baseline on the built-in set, 32 of 256 masks.
_base_ = "../_base_/data/shapes.py"
train_dataloader = dict(sampler=dict(num_per_source=dict(unlabeled=0)))
