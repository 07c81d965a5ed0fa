# FixMatch with an EMA teacher on CamVid, 1/8 of the labels: the baseline's labels, schedule and
# net.
# One GPU: 8 labelled + 8 unlabelled images, the weight ramped up over half of the run, since the
# net starts from random weights. Settings are ours.
_base_ = "../supervised/camvid_1-8.py"
model = dict(
    type="FixMatch",
    data_preprocessor=dict(
        strong=dict(type="StrongPhotometric"),
        mix=dict(type="SingleBoxCutMix", pairing="permute"),
    ),
    semi_train_cfg=dict(labels_from="teacher", rampup_iters=2000),
)
train_dataloader = dict(batch_size=16, sampler=dict(num_per_source=dict(unlabeled=8)))
