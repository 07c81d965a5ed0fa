# Supervised baseline on CamVid, 45 labelled images; 4,000 iterations, settings are ours.
_base_ = "../_base_/data/camvid.py"
train_dataloader = dict(sampler=dict(num_per_source=dict(unlabeled=0)))
