# Supervised baseline on 1/8 of the built-in set (32 of 256 masks), narrow net for the CPU.
_base_ = [
    "../_base_/models/deeplabv3plus_r18.py",
    "../_base_/datasets/shapes.py",
    "../_base_/schedules/sgd_poly.py",
    "../_base_/default_runtime.py",
]
max_iters = 1200
norm_cfg = dict(type="BN", requires_grad=True)
model = dict(
    data_preprocessor=dict(size=_base_.crop_size),
    segmentor=dict(
        # Three stages, output stride 8: textures of a few pixels do not survive 16.
        backbone=dict(
            base_channels=16,
            stem_channels=16,
            num_stages=3,
            out_indices=(0, 1, 2),
            strides=(1, 1, 2),
            dilations=(1, 1, 1),
            zero_init_residual=False,
            norm_cfg=norm_cfg,
        ),
        decode_head=dict(
            aspp_form="cac",
            aspp_dropout=0.0,
            decoder_dropout=0.0,
            dropout_ratio=0.0,
            in_channels=[16, 64],
            in_index=[0, 2],
            channels=32,
            c1_channels=16,
            dilations=(1, 2, 4, 6),
            num_classes=7,
            norm_cfg=norm_cfg,
        ),
    ),
)
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type="AdamW", lr=0.006, weight_decay=0.01),
)
param_scheduler = [
    dict(type="PolyLR", power=0.9, eta_min=0.0, begin=0, end=max_iters + 1, by_epoch=False)
]
train_cfg = dict(max_iters=max_iters, val_interval=max_iters // 5)
default_hooks = dict(checkpoint=dict(interval=max_iters // 5))
