# The same net from torchvision's ImageNet weights, as s4GAN starts. These were trained on RGB divided
# by the standard deviation, with the stride in the 3x3 convolution, so both are set here.
# Published s4GAN keeps the stride in the 1x1 and does not divide: style="caffe",
# mean=[122.67891434, 116.66876762, 104.00698793], std=[1, 1, 1] (an input 58 times as large, which
# only works because the norms use the batch's statistics).
_base_ = "./deeplabv2_r101.py"
model = dict(
    data_preprocessor=dict(
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
    ),
    segmentor=dict(
        backbone=dict(
            style="pytorch",
            init_cfg=dict(_delete_=True, type="Pretrained", checkpoint="torchvision://resnet101"),
        ),
    ),
)
