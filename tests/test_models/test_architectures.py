# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""mmseg's architectures under the methods: each trains, validates, resumes, exports."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner, load_checkpoint
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.registry import MODELS
from tiny_nets import initial

from mmsemi.errors import ConfigError
from mmsemi.export import export_segmentor
from mmsemi.models.forward import forward

BN = dict(type="BN", requires_grad=True)
LN = dict(type="LN", requires_grad=True)
CLASSES = 3


def resnet(**kwargs) -> dict:
    """ResNet-18 of 4-32 channels, output stride 8."""
    return dict(
        type="ResNetV1c",
        depth=18,
        base_channels=4,
        stem_channels=4,
        out_indices=(0, 1, 2, 3),
        dilations=(1, 1, 2, 4),
        strides=(1, 2, 1, 1),
        contract_dilation=True,
        norm_cfg=BN,
        zero_init_residual=False,  # nothing in front of a zero gets a gradient
        init_cfg=None,
        **kwargs,
    )


def head(kind: str, weight: float = 1.0, **kwargs) -> dict:
    loss = dict(type="CrossEntropyLoss", loss_weight=weight, avg_non_ignore=True)
    common = dict(num_classes=CLASSES, channels=8, norm_cfg=BN, loss_decode=loss)
    common["init_cfg"] = initial(1.0)  # with mmseg's 0.01 some steps are too small for float32
    return dict(type=kind, **common, **kwargs)


def fcn(in_channels: int, index: int, weight: float = 0.4) -> dict:
    return head(
        "FCNHead",
        weight,
        in_channels=in_channels,
        in_index=index,
        num_convs=1,
        concat_input=False,
    )


def segmentor(kind: str = "EncoderDecoder", **kwargs) -> dict:
    return dict(type=kind, train_cfg=dict(), test_cfg=dict(mode="whole"), **kwargs)


ARCHITECTURES = dict(
    pspnet=segmentor(
        backbone=resnet(),
        decode_head=head("PSPHead", in_channels=32, in_index=3, pool_scales=(1, 2, 3)),
        auxiliary_head=fcn(16, 2),
    ),
    deeplabv3plus=segmentor(
        backbone=resnet(),
        decode_head=head(
            "DepthwiseSeparableASPPHead",
            in_channels=32,
            in_index=3,
            dilations=(1, 2),
            c1_in_channels=4,
            c1_channels=4,
        ),
        auxiliary_head=[fcn(8, 1), fcn(16, 2)],
    ),
    ocrnet=segmentor(
        "CascadeEncoderDecoder",
        num_stages=2,
        backbone=resnet(),
        decode_head=[
            fcn(16, 2),
            head("OCRHead", in_channels=32, in_index=3, ocr_channels=4),
        ],
        auxiliary_head=fcn(8, 1),
    ),
    segformer=segmentor(
        backbone=dict(
            type="MixVisionTransformer",
            embed_dims=4,
            num_layers=[1, 1, 1, 1],
            num_heads=[1, 1, 2, 2],
            patch_sizes=[7, 3, 3, 3],
            sr_ratios=[8, 4, 2, 1],
            out_indices=(0, 1, 2, 3),
            mlp_ratio=2,
            drop_path_rate=0.1,
            init_cfg=None,
        ),
        decode_head=head("SegformerHead", in_channels=[4, 4, 8, 8], in_index=[0, 1, 2, 3]),
        auxiliary_head=fcn(8, 2),
    ),
    upernet_swin=segmentor(
        backbone=dict(
            type="SwinTransformer",
            pretrain_img_size=32,
            embed_dims=4,
            window_size=4,
            mlp_ratio=2,
            depths=(1, 1, 2, 1),
            num_heads=(1, 1, 2, 2),
            norm_cfg=LN,
            init_cfg=None,
        ),
        decode_head=head(
            "UPerHead", in_channels=[4, 8, 16, 32], in_index=[0, 1, 2, 3], pool_scales=(1, 2)
        ),
        auxiliary_head=fcn(16, 2),
    ),
    upernet_convnext=segmentor(
        backbone=dict(
            type="mmpretrain.ConvNeXt",
            arch=dict(depths=[1, 1, 2, 1], channels=[4, 8, 16, 32]),
            out_indices=[0, 1, 2, 3],
            drop_path_rate=0.1,
            layer_scale_init_value=1.0,
            gap_before_final_norm=False,
            init_cfg=None,
        ),
        decode_head=head(
            "UPerHead", in_channels=[4, 8, 16, 32], in_index=[0, 1, 2, 3], pool_scales=(1, 2)
        ),
        auxiliary_head=fcn(16, 2),
    ),
)


@pytest.fixture(autouse=True)
def no_environment(monkeypatch):
    """Nothing is told about the machine, which takes longer than a tiny run."""
    monkeypatch.setattr(Runner, "_log_env", lambda *_: None)


@pytest.fixture
def make_runner(semi_config, val_config, preprocessor_config, tmp_path):
    """A runner in this process: 2 labelled and 4 unlabelled crops of 32, validation at the end."""

    def make(architecture: str, method: str, name: str, max_iters: int, **kwargs) -> Runner:
        mix = dict(mix=dict(type="CutMix")) if method == "CPS" else {}
        val_loader = dict(
            batch_size=1,
            num_workers=0,
            sampler=dict(type="DefaultSampler", shuffle=False),
            dataset=copy.deepcopy(val_config),
        )
        config = Config(
            dict(
                default_scope="mmseg",
                custom_imports=dict(imports=["mmsemi"], allow_failed_imports=False),
                model=dict(
                    type=method,
                    segmentor=ARCHITECTURES[architecture],
                    data_preprocessor=preprocessor_config,
                    **mix,
                ),
                train_dataloader=dict(
                    batch_size=6,
                    num_workers=0,
                    sampler=dict(
                        type="MultiSourceSampler", num_per_source=dict(labeled=2, unlabeled=4)
                    ),
                    dataset=copy.deepcopy(semi_config),
                ),
                val_dataloader=val_loader,
                val_evaluator=dict(type="IoUMetric", iou_metrics=["mIoU"]),
                test_pipeline=[dict(type="LoadImageFromFile"), dict(type="PackSegInputs")],
                optim_wrapper=dict(
                    type="OptimWrapper", optimizer=dict(type="SGD", lr=0.02, momentum=0.9)
                ),
                train_cfg=dict(type="SemiIterBasedTrainLoop", max_iters=max_iters, val_interval=9),
                val_cfg=dict(type="ValLoop"),
                default_hooks=dict(
                    checkpoint=dict(type="AtomicCheckpointHook", by_epoch=False, interval=2)
                ),
                custom_hooks=[dict(type="InvalidLossHook")],
                randomness=dict(seed=0),
                log_level="ERROR",
                work_dir=str(tmp_path / name),
                experiment_name=f"{tmp_path.name}_{name}_{max_iters}",
                **kwargs,
            )
        )
        return Runner.from_cfg(config)

    return make


def weights(model) -> dict[str, torch.Tensor]:
    return {key: value.clone() for key, value in model.state_dict().items()}


def differing(a: dict, b: dict) -> list[str]:
    assert a.keys() == b.keys()
    return [key for key in a if not torch.equal(a[key], b[key])]


def build_exported(folder: Path):
    """The plain net, as any mmseg user would load it."""
    config = Config.fromfile(folder / "config.py")
    init_default_scope("mmseg")
    model = MODELS.build(config.model)
    load_checkpoint(model, str(folder / "weights.pth"), strict=True)
    return config, model.eval()


#: One convolutional net and one transformer; the others run in `make test-all`.
QUICK = ("deeplabv3plus", "segformer")


@pytest.mark.parametrize(
    "architecture",
    [pytest.param(a, marks=[] if a in QUICK else pytest.mark.slow) for a in ARCHITECTURES],
)
def test_it_trains_validates_resumes_and_exports(architecture, make_runner, tmp_path):
    straight = make_runner(architecture, "CPS", "straight", 3)
    before = weights(straight.model)
    straight.train()
    assert 0 <= straight.message_hub.get_scalar("val/mIoU").current() <= 100
    losses = {key for key in straight.message_hub.log_scalars if "loss" in key}
    aux = ARCHITECTURES[architecture]["auxiliary_head"]
    names = [f"aux_{i}" for i in range(len(aux))] if isinstance(aux, list) else ["aux"]
    assert {f"train/sup.{i}.{name}.loss_ce" for i in (0, 1) for name in names} <= losses
    changed = differing(before, weights(straight.model))
    parameters = [name for name, _ in straight.model.named_parameters()]
    assert set(parameters) <= set(changed), set(parameters) - set(changed)

    make_runner(architecture, "CPS", "resumed", 2).train()
    resumed = make_runner(architecture, "CPS", "resumed", 3, resume=True)
    resumed.train()
    assert not differing(weights(straight.model), weights(resumed.model))

    checkpoint = tmp_path / "straight" / "iter_3.pth"
    model = straight.model.eval()
    images = torch.randn(2, 3, 40, 48)
    metas = [dict(ori_shape=(40, 48), img_shape=(40, 48))] * 2
    for number in (0, 1):
        result = export_segmentor(checkpoint, tmp_path / f"plain{number}", net=number)
        assert result.own_parts == []
        config, plain = build_exported(tmp_path / f"plain{number}")
        assert type(plain) is type(model.branches[number])
        assert "mmsemi" not in str(config.get("custom_imports"))
        with torch.no_grad(), model.predicting_on(number):
            expected = model.encode_decode(images, metas)
            assert torch.equal(plain.encode_decode(images, metas), expected)
    assert not torch.equal(model.branches[0].encode_decode(images, metas), expected)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_baseline_trains_on_it(architecture, make_runner):
    runner = make_runner(architecture, "Supervised", "run", 2)
    before = weights(runner.model)
    runner.train()
    assert len(differing(before, weights(runner.model))) > 10


@pytest.mark.parametrize("method", ["CPS", "Supervised"])
def test_a_plain_checkpoint_starts_a_training(method, make_runner, tmp_path):
    init_default_scope("mmseg")
    plain = MODELS.build(copy.deepcopy(ARCHITECTURES["pspnet"]))
    torch.save(dict(meta={}, state_dict=plain.state_dict()), tmp_path / "plain.pth")
    runner = make_runner("pspnet", method, "run", 2, load_from=str(tmp_path / "plain.pth"))
    runner.load_or_resume()
    for net in runner.model.networks():
        assert not differing(weights(plain), weights(net))


@pytest.mark.parametrize(
    ("kind", "index"), [("DAHead", 0), ("PIDHead", 1), ("IterativeDecodeHead", 2)]
)
def test_heads_with_several_outputs_give_the_one_they_predict_with(kind, index):
    class Backbone(torch.nn.Module):
        def extract_feat(self, x):
            return x

    net = Backbone()
    net.align_corners = False
    outputs = [torch.full((1, 3, 4, 4), float(i)) for i in range(3)]
    net.decode_head = type(kind, (torch.nn.Module,), {"forward": lambda self, feats: outputs})()
    logits = forward(net, torch.zeros(1, 3, 8, 8)).logits_NCHW
    assert logits.shape == (1, 3, 8, 8) and (logits == index).all()


# --- Refused --------------------------------------------------------------------------------------

QUERIES = dict(in_channels=[4, 8], feat_channels=8, out_channels=8, num_queries=4)


@pytest.mark.parametrize(
    "decode_head",
    [
        dict(type="Mask2FormerHead", num_classes=3, **QUERIES),
        dict(type="MaskFormerHead", num_classes=3, **QUERIES),
        dict(type="SideAdapterCLIPHead", num_classes=3),
        dict(type="InheritedMaskHead", num_classes=3),
        [dict(type="FCNHead"), dict(type="PointHead", num_classes=3)],
    ],
    ids=lambda head: (head if isinstance(head, dict) else head[-1])["type"],
)
def test_a_head_without_pixel_logits_is_refused_before_it_is_built(decode_head):
    if MODELS.get("InheritedMaskHead") is None:

        class MaskHead(BaseDecodeHead):
            def loss(self, inputs, batch_data_samples, train_cfg):
                raise AssertionError

        @MODELS.register_module()
        class InheritedMaskHead(MaskHead):
            pass

    name = (decode_head[-1] if isinstance(decode_head, list) else decode_head)["type"]
    config = segmentor(backbone=resnet(), decode_head=decode_head)
    with pytest.raises(ConfigError, match=name):
        MODELS.build(dict(type="CPS", segmentor=config))
