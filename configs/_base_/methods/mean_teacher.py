# Mean teacher (Tarvainen & Valpola, NeurIPS 2017) as the authors of CPS moved it to segmentation: both
# networks see the same image, decay 0.99, the student predicts.
method = dict(
    type="MeanTeacher", unsup_weight=100.0, consistency="mse", momentum=0.01, predict_on="student"
)
