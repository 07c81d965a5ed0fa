# CutMix mean teacher on CamVid, 6 labelled images; settings are ours, chosen on nuclei, where strong views gain two points.
_base_ = ["../_base_/data/camvid_lite0.py", "../_base_/methods/cutmix_mean_teacher.py"]
model = dict(_base_.method, strong=dict(type="StrongPhotometric"), unsup_weight=5.0)
model.update(confidence_threshold=0.9, momentum=0.02)
train_dataloader = dict(sampler=dict(num_per_source=dict(unlabeled=8)))
