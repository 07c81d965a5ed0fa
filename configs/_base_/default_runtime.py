# What every run shares: loop, loaders, hooks, logging. Children merge into the dictionaries.
default_scope = "mmseg"
custom_imports = dict(imports=["mmsemi"], allow_failed_imports=False)
env_cfg = dict(
    cudnn_benchmark=True,
    mp_cfg=dict(mp_start_method="fork", opencv_num_threads=0),
    dist_cfg=dict(backend="nccl"),
)
# One seed for every process: data order and augmentation come from it through the sampler.
randomness = dict(seed=0)

# The length of the run is one value, `max_iters` or `epochs`; schedules, validations, checkpoints and
# pictures follow from it.
train_cfg = dict(type="SemiIterBasedTrainLoop")
val_cfg = dict(type="TeacherStudentValLoop", interval=5)
test_cfg = dict(type="TestLoop")

# The batch is what `sampler.num_per_source` adds up to; the crop is `dataset.crop_size`.
train_dataloader = dict(
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type="MultiSourceSampler"),
    dataset=dict(type="SemiDataset", unlabeled=dict()),
)
test_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations"),
    dict(type="PackSegInputs"),
]
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(pipeline=test_pipeline),
)
test_dataloader = val_dataloader
# IoU of each class in the log, and what the report shows; the test's is mmseg's own.
val_evaluator = dict(type="ClassIoUMetric", iou_metrics=["mIoU"])
test_evaluator = dict(type="IoUMetric", iou_metrics=["mIoU"])

default_hooks = dict(
    timer=dict(type="IterTimerHook"),
    logger=dict(type="LoggerHook", interval=50, log_metric_by_epoch=False),
    param_scheduler=dict(type="ParamSchedulerHook"),
    checkpoint=dict(
        type="AtomicCheckpointHook",
        by_epoch=False,
        max_keep_ckpts=2,
        save_best="mIoU",
        rule="greater",
    ),
    sampler_seed=dict(type="DistSamplerSeedHook"),
    visualization=dict(type="SegVisualizationHook"),
    invalid_loss=dict(type="InvalidLossHook"),
    mask_check=dict(type="MaskCheckHook"),
    batch_norm_gap=dict(type="BatchNormGapHook"),
    diagnosis=dict(type="DiagnosisHook"),
    progress=dict(type="ProgressHook"),
    pseudo_labels=dict(type="PseudoLabelVisHook"),
    report=dict(type="ReportHook"),
)

vis_backends = [dict(type="LocalVisBackend"), dict(type="TensorboardVisBackend")]
visualizer = dict(type="SegLocalVisualizer", vis_backends=vis_backends, name="visualizer")
log_processor = dict(by_epoch=False)
log_level = "INFO"
load_from = None
resume = False
# tools/test.py --tta: four scales, with and without flip.
tta_model = dict(type="SegTTAModel")
tta_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(
        type="TestTimeAug",
        transforms=[
            [
                dict(type="Resize", scale_factor=factor, keep_ratio=True)
                for factor in (0.75, 1.0, 1.25, 1.5)
            ],
            [
                dict(type="RandomFlip", prob=0.0, direction="horizontal"),
                dict(type="RandomFlip", prob=1.0, direction="horizontal"),
            ],
            [dict(type="LoadAnnotations")],
            [dict(type="PackSegInputs")],
        ],
    ),
]
