# AdvSemiSeg on the labelled images of the built-in set alone: the adversarial loss without
# unlabelled images. The rest as shapes_1-8.py.
_base_ = "./shapes_1-8.py"
train_dataloader = dict(batch_size=16, sampler=dict(num_per_source=dict(unlabeled=0)))
