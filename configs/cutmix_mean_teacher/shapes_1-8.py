# CutMix mean teacher on the built-in set: the baseline's labels, schedule and net.
_base_ = "../supervised/shapes_1-8.py"
model = dict(
    type="CutMixMeanTeacher",
    data_preprocessor=dict(mix=dict(type="CutMix", num_boxes=1, area_range=(0.5, 0.5))),
    semi_train_cfg=dict(unsup_weight=1.0),
)
# CutMix mixes pairs: 16 unlabelled images give 8 mixed ones.
train_dataloader = dict(batch_size=24, sampler=dict(num_per_source=dict(unlabeled=16)))
