# CPS+CutMix on the built-in set: the baseline's labels, schedule and net.
_base_ = "../supervised/shapes_1-8.py"
model = dict(
    type="CPS",
    data_preprocessor=dict(mix=dict(type="CutMix")),
    # The nets start from random weights: without a ramp-up they agree on "all background" first.
    semi_train_cfg=dict(unsup_weight=0.3, rampup_iters=500),
    semi_test_cfg=dict(predict_on=0),
)
# CutMix mixes pairs: 8 unlabelled images give 4 mixed ones.
train_dataloader = dict(batch_size=16, sampler=dict(num_per_source=dict(unlabeled=8)))
