# Mean teacher on CamVid, 6 labelled images; settings are ours. The published weight 100 of a mean over 21 classes is
# worth 50 over 11 classes.
_base_ = ["../_base_/data/camvid_lite0.py", "../_base_/methods/mean_teacher.py"]
strong = dict(type="StrongPhotometric")
model = dict(_base_.method, strong=strong, consistency_on_labeled=False, momentum=0.02)
model.update(unsup_weight=50.0, predict_on="teacher")
