# MLMT's classifier: torchvision's ResNet-101 from ImageNet weights, global pooling, a linear layer.
model = dict(
    type="MLMTClassifier",
    data_preprocessor=dict(
        type="SemiSegDataPreProcessor",
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_val=0,
        seg_pad_val=255,
        strong=dict(
            type="StrongPhotometric",
            jitter=(0.4, 0.4, 0.4, 0.1),
            p_jitter=1.0,
            p_gray=0.0,
            p_blur=1.0,
            sigma=(0.1, 2.0),
        ),
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
    semi_test_cfg=dict(predict_on="teacher"),
)
