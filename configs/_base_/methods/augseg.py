# AugSeg (Zhao et al., CVPR 2023): random colours, and labelled boxes where the teacher is unsure; the teacher is a copy
# through the first pass over the unlabelled images.
method = dict(
    type="AugSeg",
    strong=dict(type="RandomIntensity"),
    mix=dict(type="LabelPaste"),
    threshold=0.95,
    momentum=0.001,
    copy_passes=1,
)
# Every pixel counts, and the teacher follows faster.
on_cityscapes = dict(method, threshold=-0.1, momentum=0.004)
