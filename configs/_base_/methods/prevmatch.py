# PrevMatch (Shin et al., WACV 2026) on UniMatch V1: networks from earlier in the training label, too.
method = dict(
    type="PrevMatch",
    strong=dict(type="StrongPhotometric"),
    mix=dict(type="SingleBoxCutMix", pairing="permute"),
    num_views=2,
    threshold=0.95,
)
# As in the logs of the published runs: a copy at each record on the validation images, whose labels thereby steer
# the training; joint_decoder as in UniMatch's code.
released = dict(method, joint_decoder=True, copies="val_best", previous_curve="raised_cosine")
