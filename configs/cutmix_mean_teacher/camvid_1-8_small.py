# CutMix mean teacher on CamVid at the size for a CPU: the small baseline's labels, schedule and
# net, 4 labelled + 8 unlabelled images (4 mixed ones).
_base_ = "../supervised/camvid_1-8_small.py"
model = dict(
    type="CutMixMeanTeacher",
    data_preprocessor=dict(mix=dict(type="CutMix", num_boxes=1, area_range=(0.5, 0.5))),
    semi_train_cfg=dict(rampup_iters=250),
)
train_dataloader = dict(batch_size=12, sampler=dict(num_per_source=dict(unlabeled=8)))
