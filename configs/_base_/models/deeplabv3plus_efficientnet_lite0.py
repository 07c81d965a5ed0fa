# DeepLabv3+ with EfficientNet-Lite0 (output stride 16) from ImageNet weights, for small data sets and batches:
# a head of 64 channels whose norms do not depend on the batch, dilations for crops of 128 to 320 pixels.
# The backbone is timm's (pip install timm), its weights come by the command
#   mmsemi weights efficientnet_lite0
# They expect RGB, mean 127, std 128. The backbone's norms are batch norms: docs/batch_norm.md.
_base_ = "../default_runtime.py"
model = dict(
    type="Supervised",
    data_preprocessor=dict(
        type="SemiSegDataPreProcessor", mean=[127.0] * 3, std=[128.0] * 3, bgr_to_rgb=True
    ),
    segmentor=dict(
        type="EncoderDecoder",
        backbone=dict(
            type="mmpretrain.TIMMBackbone",
            model_name="tf_efficientnet_lite0",
            features_only=True,
            output_stride=16,
            init_cfg=dict(
                type="Pretrained", checkpoint="mmsemi://efficientnet_lite0", prefix="backbone."
            ),
        ),
        decode_head=dict(
            type="DeepLabV3PlusHead",
            in_channels=[24, 320],  # of 16, 24, 40, 112, 320 at strides 2, 4, 8, 16, 16
            in_index=[1, 4],
            channels=64,
            c1_channels=32,
            aspp_form="cac",
            aspp_dropout=0.0,
            decoder_dropout=0.0,
            dropout_ratio=0.0,
            dilations=(1, 2, 4, 6),
            num_classes=21,
            norm_cfg=dict(type="GN", num_groups=16, requires_grad=True),
            loss_decode=dict(type="PixelCrossEntropy"),
        ),
        test_cfg=dict(mode="whole"),
    ),
)
