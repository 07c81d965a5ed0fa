# PrevMatch on UniMatch V1 and nuclei, 4 labelled images; settings are ours.
_base_ = ["../_base_/data/nuclei.py", "../_base_/methods/prevmatch.py"]
model = dict(_base_.method, sup_weight=1.0, unsup_weight=1.0)
