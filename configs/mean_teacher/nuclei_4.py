# Mean teacher on nuclei, 4 labelled images; settings are ours.
_base_ = ["../_base_/data/nuclei.py", "../_base_/methods/mean_teacher.py"]
strong = dict(type="StrongPhotometric")
model = dict(_base_.method, strong=strong, consistency_on_labeled=False, momentum=0.02)
model.update(predict_on="teacher")
