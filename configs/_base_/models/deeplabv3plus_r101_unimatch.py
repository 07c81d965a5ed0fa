# DeepLabv3+ of UniMatch V1 (ResNet-101, output stride 16, plain ASPP, no dropout). Unlike CPS's net: no
# multi-grid (the last stage dilates by 1, 2, 2) and a norm for each ASPP branch.
# The published stem is 64-64-128 wide; OpenMMLab's v1c weights fit 32-32-64, which is used here. With
# weights for the published one: model.segmentor.backbone.stem_channels=128 and their file as
# model.segmentor.backbone.init_cfg.checkpoint.
_base_ = "./deeplabv3plus_r50.py"
model = dict(
    segmentor=dict(
        backbone=dict(
            depth=101,
            multi_grid=None,
            contract_dilation=True,
            init_cfg=dict(checkpoint="open-mmlab://resnet101_v1c"),
        ),
        decode_head=dict(aspp_form="cac", aspp_dropout=0.0, decoder_dropout=0.0, dropout_ratio=0.0),
    ),
)
