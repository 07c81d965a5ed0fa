# CPS+CutMix on CamVid at the size for a CPU: the small baseline's labels, schedule and net.
_base_ = "../supervised/camvid_1-8_small.py"
model = dict(
    type="CPS",
    data_preprocessor=dict(mix=dict(type="CutMix")),
    semi_train_cfg=dict(unsup_weight=0.3, rampup_iters=250),
    semi_test_cfg=dict(predict_on=0),
)
train_dataloader = dict(batch_size=12, sampler=dict(num_per_source=dict(unlabeled=8)))
