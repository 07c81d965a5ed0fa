# The built-in set (shapes.py) with all masks and a rate that is halved when the validation loss stalls; the run
# ends when that does not help. For the three configs advsemiseg/shapes_plateau_*.py, through which
# docs/adversarial_walkthrough.md goes. Not tuned.
_base_ = "./shapes.py"
train_dataloader = dict(dataset=dict(split=dict(ratio=1.0)))
val_evaluator = [dict(type="ClassIoUMetric", iou_metrics=["mIoU"]), dict(type="SegmentationLoss")]
# For every optimiser. Patience counts validations.
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
train_cfg = dict(max_iters=6000, num_validations=60)  # at most, it stops by itself
