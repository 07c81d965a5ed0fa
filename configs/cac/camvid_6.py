# CAC on CamVid, 6 labelled images; settings are ours.
_base_ = ["../_base_/data/camvid_lite0.py", "../_base_/methods/cac.py"]
model = dict(_base_.method, start_iter=60)
train_dataloader = dict(dataset=dict(unlabeled=dict(pipeline=_base_.pair_pipeline)))
