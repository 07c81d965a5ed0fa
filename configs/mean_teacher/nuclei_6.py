# Mean teacher on nuclei, 6 labelled images; settings are ours.
_base_ = ["../_base_/data/nuclei.py", "../_base_/methods/mean_teacher.py"]
model = dict(
    _base_.method,
    strong=dict(type="StrongPhotometric"),
    consistency_on_labeled=False,
    predict_on="teacher",
)
model.update(momentum=0.02)
