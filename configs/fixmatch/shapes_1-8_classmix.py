# ClassMix in mean teacher on the built-in set: the paper's loss and threshold, and a teacher that follows faster.
_base_ = "shapes_1-8.py"
model = dict(
    mix=dict(_delete_=True, type="ClassMix"),
    threshold=0.968,
    unsure_pixels="weighted",
    sup_weight=1.0,
    unsup_weight=1.0,
    rampup_iters=0,
)
