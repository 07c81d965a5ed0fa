# The built-in set (shapes.py) for MLMT: 8 labelled and 16 unlabelled images, 60 passes over the labelled ones.
# Trained longer or faster it learns the 32 images by heart, and its scores go to 0 and 1.
_base_ = "./shapes.py"
# From random weights whole images are too few: crops, and the classes that each crop shows.
sup_pipeline = [
    *_base_.sup_pipeline[:-1],
    dict(type="AddImageLabels"),
    dict(type="PackSemiInputs"),
]
train_dataloader = dict(
    sampler=dict(num_per_source=dict(labeled=8, unlabeled=16)),
    dataset=dict(labeled=dict(pipeline=sup_pipeline)),
)
# The table of scores lies in the run's work dir.
val_evaluator = dict(_delete_=True, type="ImageLevelMetric", out_file="scores.npz")
test_evaluator = val_evaluator
default_hooks = dict(checkpoint=dict(save_best="mAP"))
model = dict(
    _delete_=True,
    data_preprocessor=_base_.model.data_preprocessor,
    classifier=dict(
        type="mmpretrain.ImageClassifier",
        # Three stages, output stride 8: these textures do not survive 16.
        backbone=dict(
            type="mmpretrain.ResNet",
            depth=18,
            base_channels=16,
            stem_channels=16,
            num_stages=3,
            strides=(1, 1, 2),
            dilations=(1, 1, 1),
            out_indices=(2,),
            init_cfg=None,  # torch's own, with which its figures were made
            norm_cfg=_base_.norm_cfg,
            style="pytorch",
        ),
        # Objects are small: the mean over all pixels hides them.
        neck=dict(type="mmpretrain.GeneralizedMeanPooling", p=3.0),
        head=dict(type="mmpretrain.MultiLabelLinearClsHead", num_classes=7, in_channels=64),
    ),
)
optim_wrapper = dict(optimizer=dict(lr=0.001), paramwise_cfg=dict(_delete_=True))
param_scheduler = [dict(type="CosineAnnealingLR", eta_min=1e-5)]
train_cfg = dict(max_iters=240, num_validations=4)
