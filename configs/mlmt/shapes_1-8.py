# MLMT on the built-in set: a classifier from 1/8 of the labels, those of configs/s4gan/shapes_1-8.py.
#   python tools/train.py configs/mlmt/shapes_1-8.py
# The last validation writes the teacher's scores of the val images for shapes_1-8_fused.py of s4GAN.
_base_ = [
    "../_base_/models/mlmt_r101.py",
    "../_base_/datasets/shapes.py",
    "../_base_/schedules/mlmt.py",
    "../_base_/default_runtime.py",
]
epochs, epoch_iters = 60, 4
max_iters = epochs * epoch_iters
model = dict(
    # No blur: the classes differ in textures of a few pixels, which it would wipe out.
    data_preprocessor=dict(size=_base_.crop_size, strong=dict(p_blur=0.0)),
    classifier=dict(
        # Three stages, output stride 8: these textures do not survive 16.
        backbone=dict(
            depth=18,
            base_channels=16,
            stem_channels=16,
            num_stages=3,
            strides=(1, 1, 2),
            dilations=(1, 1, 1),
            out_indices=(2,),
            init_cfg=None,
        ),
        # Objects are small: the mean over all pixels hides them.
        neck=dict(_delete_=True, type="mmpretrain.GeneralizedMeanPooling", p=3.0),
        head=dict(num_classes=7, in_channels=64),
    ),
    semi_train_cfg=dict(epochs=epochs, epoch_iters=epoch_iters),
)

# From random weights whole images are too few: crops, and the classes that each crop shows.
sup_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations"),
    *_base_.weak_pipeline[:-1],
    dict(type="AddImageLabels"),
    dict(type="PackSemiInputs"),
]
train_dataloader = dict(
    batch_size=24,
    sampler=dict(num_per_source=dict(labeled=8, unlabeled=16)),
    dataset=dict(labeled=dict(pipeline=sup_pipeline)),
)
val_evaluator = dict(
    _delete_=True,
    type="ImageLevelMetric",
    out_file="work_dirs/mlmt/shapes_1-8/scores.npz",
)
test_evaluator = val_evaluator

# Trained longer or faster it learns the 32 images by heart, and its scores go to 0 and 1.
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type="AdamW", lr=0.001, weight_decay=0.01),
)
param_scheduler = [
    dict(
        type="CosineAnnealingLR",
        T_max=max_iters,
        eta_min=1e-5,
        begin=0,
        end=max_iters + 1,
        by_epoch=False,
    )
]
train_cfg = dict(max_iters=max_iters, val_interval=max_iters // 4)
default_hooks = dict(checkpoint=dict(interval=max_iters // 4, save_best="mAP"))
