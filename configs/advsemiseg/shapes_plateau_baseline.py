# First of three: the generator alone, on all masks of the built-in set. The rate is halved when the
# validation loss stalls, and the run ends when that does not help. The second is
# shapes_plateau_adversarial.py, the third shapes_plateau_semi.py; docs/adversarial_walkthrough.md
# goes through them. Not tuned.
_base_ = "../supervised/shapes_1-8.py"
max_iters, val_interval = 6000, 100  # at most, it stops by itself
train_dataloader = dict(dataset=dict(split=dict(ratio=1.0)))
val_evaluator = [dict(type="IoUMetric", iou_metrics=["mIoU"]), dict(type="SegmentationLoss")]
# For every optimiser of a child, too. Patience counts validations.
param_scheduler = [
    dict(type="ReduceOnPlateauLR", monitor="val_loss", rule="less", factor=0.5, patience=3)
]
custom_hooks = [
    dict(
        type="ResumableEarlyStoppingHook",
        monitor="val_loss",
        rule="less",
        min_delta=0.0,
        patience=10,
    )
]
train_cfg = dict(max_iters=max_iters, val_interval=val_interval)
default_hooks = dict(checkpoint=dict(interval=val_interval))
