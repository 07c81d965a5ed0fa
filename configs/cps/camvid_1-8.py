# CPS+CutMix on CamVid, 1/8 of the labels: the baseline's labels, schedule and net.
# One GPU: 8 labelled + 16 unlabelled images (8 mixed ones), lambda 0.3 (few labels) and ramped up, since the
# networks start from random weights.
_base_ = "../supervised/camvid_1-8.py"
model = dict(
    type="CPS",
    data_preprocessor=dict(mix=dict(type="CutMix")),
    semi_train_cfg=dict(unsup_weight=0.3, rampup_iters=2000),
    semi_test_cfg=dict(predict_on=0),
)
train_dataloader = dict(batch_size=24, sampler=dict(num_per_source=dict(unlabeled=16)))
