# MLMT's classifier: torchvision's ResNet-101 from ImageNet weights, global pooling, a linear layer.
_base_ = "../default_runtime.py"
model = dict(
    type="MLMTClassifier",
    data_preprocessor=dict(
        type="SemiSegDataPreProcessor",
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
    ),
    classifier=dict(
        type="mmpretrain.ImageClassifier",
        backbone=dict(
            type="mmpretrain.ResNet",
            depth=101,
            out_indices=(3,),
            norm_cfg=dict(type="BN", requires_grad=True),
            style="pytorch",
            init_cfg=dict(type="Pretrained", checkpoint="torchvision://resnet101"),
        ),
        neck=dict(type="mmpretrain.GlobalAveragePooling"),
        head=dict(type="mmpretrain.MultiLabelLinearClsHead", num_classes=21, in_channels=2048),
    ),
)
