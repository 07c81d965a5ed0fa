# Supervised baseline on nuclei, 4 labelled images; settings are ours.
_base_ = "../_base_/data/nuclei.py"
train_dataloader = dict(sampler=dict(num_per_source=dict(unlabeled=0)))
