# The network of UniMatch V2: the DPT head on DINOv2-S (patch 14). Its weight file is fetched once, or lies in torch's
# cache: docs/encoders.md. Training crops are multiples of the patch; whole images in tests are resized to the nearest
# one and their logits back, probabilities of windows are averaged, both as released.
_base_ = "../default_runtime.py"
model = dict(
    type="Supervised",
    data_preprocessor=dict(
        type="SemiSegDataPreProcessor",
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
    ),
    segmentor=dict(
        type="PatchGridEncoderDecoder",
        backbone=dict(
            type="DINOv2",
            size="small",
            init_cfg=dict(
                type="Pretrained",
                checkpoint="https://dl.fbaipublicfiles.com/dinov2/dinov2_vits14/dinov2_vits14_pretrain.pth",
            ),
        ),
        decode_head=dict(
            type="DINOv2DPTHead",
            in_channels=384,
            channels=64,
            reassemble_channels=(48, 96, 192, 384),
            num_classes=21,
            loss_decode=dict(type="PixelCrossEntropy"),
        ),
        test_cfg=dict(mode="whole"),
    ),
)

# Other encoders in its place: model = dict(segmentor=_base_.dinov2_base), with a method
# model = dict(_base_.method, segmentor=_base_.dinov2_base).
base_head = dict(in_channels=768, channels=128, reassemble_channels=(96, 192, 384, 768))
dinov2_base = dict(
    backbone=dict(
        size="base",
        init_cfg=dict(
            checkpoint="https://dl.fbaipublicfiles.com/dinov2/dinov2_vitb14/dinov2_vitb14_pretrain.pth"
        ),
    ),
    decode_head=base_head,
)
# DINOv3 (patch 16) has files that are given out by e-mail, under a licence of its own: docs/encoders.md. With
# train_dataloader = dict(dataset=dict(crop_size=(512, 512))), or 592 for the grid that 518 is for DINOv2.
dinov3_small = dict(
    backbone=dict(type="DINOv3", init_cfg=dict(checkpoint="checkpoints/dinov3_vits16.pth"))
)
dinov3_base = dict(
    backbone=dict(
        type="DINOv3", size="base", init_cfg=dict(checkpoint="checkpoints/dinov3_vitb16.pth")
    ),
    decode_head=base_head,
)
