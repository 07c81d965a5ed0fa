# ClassMix on the built-in set, its paper's method: hard labels of a mean teacher, all of them weighted by the share of confident ones.
_base_ = "shapes_1-8.py"
model = dict(mix=dict(_delete_=True, type="ClassMix"), threshold=0.968, unsure_pixels="weighted")
model.update(sup_weight=1.0, unsup_weight=1.0, rampup_iters=0)
