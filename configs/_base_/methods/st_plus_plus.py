# ST and ST++ (Yang et al., CVPR 2022) as released: each training starts from the backbone's weights, every pixel of an
# image has a label, which five scales and their flips give; 8 + 8 images. `mmsemi self-train` runs it.
strong_view = dict(type="StrongPhotometric")
method = dict(type="SelfTraining", strong=strong_view, cutout=dict(type="Cutout"))
stored = dict(sources=dict(pseudo=dict(type="PseudoLabelDataset")))
batch = dict(
    sampler=dict(num_per_source=dict(labeled=8, unlabeled=0, pseudo=8)),
    dataset=stored,
)
all_pixels = dict(assign="all", scales=(0.5, 0.75, 1.0, 1.5, 2.0), flip=True, confidence=False)
# ST++: the more reliable half first.
eight = dict(sampler=dict(num_per_source=dict(labeled=8, unlabeled=0, pseudo=8)), dataset=stored)
four = dict(sampler=dict(num_per_source=dict(labeled=4, unlabeled=0, pseudo=4)), dataset=stored)
self_training = dict(
    start="pretrained",
    ratios=(1.0, 1.0),
    images=dict(shares=(0.5, 1.0), checkpoints=3),
    labels=all_pixels,
    select="best",
)
# ST: all images at once.
st = dict(ratios=(1.0,), images=None)
plain = dict(select="last")
