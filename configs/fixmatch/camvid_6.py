# FixMatch with an EMA teacher on CamVid, 6 labelled images; settings are ours.
_base_ = ["../_base_/data/camvid_lite0.py", "../_base_/methods/fixmatch.py"]
model = dict(_base_.method, labels_from="teacher", momentum=0.02, sup_weight=1.0, unsup_weight=1.0)
