# Supervised baseline on CamVid at the size for a CPU, 45 labelled images; 500 iterations, settings are ours.
_base_ = "../_base_/data/camvid_small.py"
train_dataloader = dict(sampler=dict(num_per_source=dict(unlabeled=0)))
