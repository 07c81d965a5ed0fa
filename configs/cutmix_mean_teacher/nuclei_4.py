# CutMix mean teacher on nuclei, 4 labelled images; settings are ours: strong views gain one point (docs/results/nuclei.md).
_base_ = ["../_base_/data/nuclei.py", "../_base_/methods/cutmix_mean_teacher.py"]
model = dict(_base_.method, strong=dict(type="StrongPhotometric"), unsup_weight=5.0)
model.update(confidence_threshold=0.9, momentum=0.02)
train_dataloader = dict(sampler=dict(num_per_source=dict(unlabeled=8)))
