# DMT (Feng et al., Pattern Recognition 130, 2022) as released: 5 rounds, two models label for each other, gamma 5;
# 7 pseudo-labelled images and 1 labelled one, on Cityscapes gamma 3 and 6 + 2. `mmsemi self-train` runs it.
method = dict(type="SelfTraining", weight=dict(type="MutualWeight", gamma1=5, gamma2=5))
on_cityscapes = dict(type="SelfTraining", weight=dict(type="MutualWeight", gamma1=3, gamma2=3))
stored = dict(sources=dict(pseudo=dict(type="PseudoLabelDataset")))
batch = dict(sampler=dict(num_per_source=dict(labeled=1, unlabeled=0, pseudo=7)), dataset=stored)
city_batch = dict(
    sampler=dict(num_per_source=dict(labeled=2, unlabeled=0, pseudo=6)), dataset=stored
)
eight = dict(sampler=dict(num_per_source=dict(labeled=8, unlabeled=0, pseudo=8)), dataset=stored)
four = dict(sampler=dict(num_per_source=dict(labeled=4, unlabeled=0, pseudo=4)), dataset=stored)
self_training = dict(
    mode="mutual",
    ratios=(0.2, 0.4, 0.6, 0.8, 1.0),
    labels=dict(assign="argmax", sampling="image", exact=True),
    select="best",
)
# The second baselines of 1/106 and 1/50.
right_80 = dict(baseline="supervised/voc_80_right_dst_cbc")
right_168 = dict(baseline="supervised/voc_168_right_dst_cbc")
# Ours: three rounds, selection without a look at validation images, and histograms.
plain = dict(ratios=(0.4, 0.7, 1.0), labels=dict(sampling="random", exact=False), select="last")
ours = dict(method, weight=dict(type="MutualWeight", gamma1=2, gamma2=2))
