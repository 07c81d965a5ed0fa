# CAC on CamVid at the size for a CPU, 45 labelled + 322 unlabelled images; 500 iterations, settings are ours. Ramped up over half of the run, since the net starts from random weights.
_base_ = ["../_base_/data/camvid_small.py", "../_base_/methods/cac.py"]
model = dict(_base_.method, start_iter=50, rampup_iters=250)
train_dataloader = dict(dataset=dict(unlabeled=dict(pipeline=_base_.pair_pipeline)))
