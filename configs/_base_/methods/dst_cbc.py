# DST-CBC (Feng et al., arXiv 2004.08514v1) as released: 5 rounds, the best checkpoint so far labels and starts the
# next one, thresholds by quotient, gamma 9; 4 pseudo-labelled and 4 labelled images. `mmsemi self-train` runs it.
method = dict(type="SelfTraining", weight=dict(type="DynamicWeight", gamma=9))
stored = dict(sources=dict(pseudo=dict(type="PseudoLabelDataset")))
batch = dict(
    sampler=dict(num_per_source=dict(labeled=4, unlabeled=0, pseudo=4)),
    dataset=stored,
)
eight = dict(sampler=dict(num_per_source=dict(labeled=8, unlabeled=0, pseudo=8)), dataset=stored)
four = dict(sampler=dict(num_per_source=dict(labeled=4, unlabeled=0, pseudo=4)), dataset=stored)
self_training = dict(
    ratios=(0.2, 0.4, 0.6, 0.8, 1.0),
    labels=dict(assign="ratio", sampling="batch", exact=True),
    select="best",
    carry_best=True,
)
# Ours: three rounds, selection without a look at validation images, and histograms.
plain = dict(
    ratios=(0.4, 0.7, 1.0),
    labels=dict(sampling="random", exact=False),
    select="last",
    carry_best=False,
)
ours = dict(method, weight=dict(type="DynamicWeight", gamma=2))
