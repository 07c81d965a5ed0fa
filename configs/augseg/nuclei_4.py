# AugSeg on nuclei, 4 labelled images; settings are ours.
_base_ = ["../_base_/data/nuclei.py", "../_base_/methods/augseg.py"]
model = dict(_base_.method, momentum=0.02)
