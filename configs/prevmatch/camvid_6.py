# PrevMatch on UniMatch V1 and CamVid, 6 labelled images; settings are ours.
_base_ = ["../_base_/data/camvid_lite0.py", "../_base_/methods/prevmatch.py"]
model = dict(_base_.method, sup_weight=1.0, unsup_weight=1.0)
