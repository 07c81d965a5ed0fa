# MLMT, the second branch of s4GAN (Mittal et al., TPAMI 2021): which classes an image has. The teacher
# predicts.
method = dict(
    type="MLMTClassifier",
    strong=dict(
        type="StrongPhotometric",
        jitter=(0.4, 0.4, 0.4, 0.1),
        p_jitter=1.0,
        p_gray=0.0,
        p_blur=1.0,
        sigma=(0.1, 2.0),
    ),
    predict_on="teacher",
)
