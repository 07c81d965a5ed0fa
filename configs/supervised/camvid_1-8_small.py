# The CamVid baseline at a size for a CPU: half resolution, crop 160, a quarter of the width, 500
# iterations of 4 labelled images.
_base_ = "./camvid_1-8.py"
max_iters = 500
crop_size = (160, 160)
norm_cfg = dict(type="BN", requires_grad=True)
model = dict(
    data_preprocessor=dict(size=crop_size),
    segmentor=dict(
        backbone=dict(
            base_channels=16,
            stem_channels=16,
            strides=(1, 1, 2, 1),
            zero_init_residual=False,
            norm_cfg=norm_cfg,
        ),
        decode_head=dict(
            aspp_form="cac",
            aspp_dropout=0.0,
            decoder_dropout=0.0,
            dropout_ratio=0.0,
            in_channels=[16, 128],
            channels=32,
            c1_channels=16,
            dilations=(1, 2, 4, 6),
            norm_cfg=norm_cfg,
        ),
    ),
)
weak_pipeline = [
    dict(type="RandomResize", scale=(240, 180), ratio_range=(0.75, 1.5), keep_ratio=True),
    dict(type="RandomCrop", crop_size=crop_size),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PackSemiInputs"),
]
sup_pipeline = [dict(type="LoadImageFromFile"), dict(type="LoadAnnotations"), *weak_pipeline]
test_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="Resize", scale=(240, 180), keep_ratio=True),
    dict(type="LoadAnnotations"),
    dict(type="PackSegInputs"),
]
train_dataloader = dict(
    batch_size=4,
    num_workers=1,
    sampler=dict(num_per_source=dict(labeled=4)),
    dataset=dict(
        labeled=dict(pipeline=sup_pipeline),
        unlabeled=dict(pipeline=[dict(type="LoadImageFromFile"), *weak_pipeline]),
    ),
)
val_dataloader = dict(num_workers=1, dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type="AdamW", lr=0.006, weight_decay=0.01),
)
param_scheduler = [
    dict(type="PolyLR", power=0.9, eta_min=0.0, begin=0, end=max_iters + 1, by_epoch=False)
]
train_cfg = dict(max_iters=max_iters, val_interval=max_iters // 2)
default_hooks = dict(checkpoint=dict(interval=max_iters // 2))
