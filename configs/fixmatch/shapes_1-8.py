# FixMatch with an EMA teacher on the built-in set: the baseline's labels, schedule and net.
_base_ = "../supervised/shapes_1-8.py"
model = dict(
    type="FixMatch",
    data_preprocessor=dict(
        strong=dict(type="StrongPhotometric"),
        mix=dict(type="SingleBoxCutMix", pairing="permute"),
    ),
    semi_train_cfg=dict(labels_from="teacher"),
)
train_dataloader = dict(batch_size=16, sampler=dict(num_per_source=dict(unlabeled=8)))
