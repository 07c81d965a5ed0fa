# What a config written by `mmsemi init` (docs/own_data.md) inherits beside a model and a method: augmentation and
# optimiser for few labels, as on nuclei. No data set.
load = [dict(type="LoadImageFromFile"), dict(type="LoadAnnotations")]
factors = (0.75, 1.0, 1.25, 1.5)
scales = [[dict(type="Resize", scale_factor=factor, keep_ratio=True)] for factor in factors]
augment = [
    dict(type="RandomChoice", transforms=scales),
    dict(type="RandomCrop"),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PackSemiInputs"),
]
optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="AdamW", lr=1e-3, weight_decay=0.01),
    paramwise_cfg=dict(
        norm_decay_mult=0.0, bias_decay_mult=0.0, custom_keys=dict(backbone=dict(lr_mult=0.3))
    ),
)
param_scheduler = [dict(type="PolyLR", power=0.9)]
