# First of three: the generator alone, on all masks of the built-in set (docs/adversarial_walkthrough.md).
_base_ = "../_base_/data/shapes_plateau.py"
train_dataloader = dict(sampler=dict(num_per_source=dict(unlabeled=0)))
