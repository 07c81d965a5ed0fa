# CAC on CamVid, 45 labelled + 322 unlabelled images; 4,000 iterations, settings are ours. Ramped up over half of the run, since the net starts from random weights.
_base_ = ["../_base_/data/camvid.py", "../_base_/methods/cac.py"]
model = dict(_base_.method, start_iter=400, rampup_iters=2000)
train_dataloader = dict(dataset=dict(unlabeled=dict(pipeline=_base_.pair_pipeline)))
