# CAC on nuclei, 4 labelled images; settings are ours.
_base_ = ["../_base_/data/nuclei.py", "../_base_/methods/cac.py"]
model = dict(_base_.method, start_iter=40)
train_dataloader = dict(dataset=dict(unlabeled=dict(pipeline=_base_.pair_pipeline)))
