# Supervised baseline on CamVid, 6 labelled images; settings are ours.
_base_ = "../_base_/data/camvid_lite0.py"
train_dataloader = dict(sampler=dict(num_per_source=dict(unlabeled=0)))
