# AugSeg on CamVid, 6 labelled images; settings are ours.
_base_ = ["../_base_/data/camvid_lite0.py", "../_base_/methods/augseg.py"]
model = dict(_base_.method, momentum=0.02)
