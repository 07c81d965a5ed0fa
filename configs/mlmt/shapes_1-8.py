# MLMT on the built-in set. Each validation writes the teacher's scores of the val images, for s4gan/shapes_1-8_fused.py.
_base_ = ["../_base_/data/shapes_mlmt.py", "../_base_/methods/mlmt.py"]
strong = dict(_base_.method.strong, p_blur=0.0)
model = dict(_base_.method, strong=strong, epochs=60, epoch_iters=4)
