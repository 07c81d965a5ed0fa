# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Transformers of toy size under a method: they train, validate, resume, and leave as ONNX files."""

from __future__ import annotations

import copy
import logging
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner, load_checkpoint
from mmseg.registry import MODELS
from official_files import official_tensors, write_official
from tiny_nets import VIT

from mmsemi.errors import CheckpointError, ConfigError
from mmsemi.export import export_segmentor
from mmsemi.models.backbones import DINOv2, DINOv3

SIZE = VIT["backbone"]["size"]
FIXMATCH = dict(
    type="FixMatch",
    strong=dict(type="StrongPhotometric"),
    mix=dict(type="SingleBoxCutMix", pairing="reverse"),
    labeled_forward="strong",
    threshold=0.3,
)
PREVIOUS = dict(copy_every=1, previous_threshold=0.3, previous_curve="constant")
U2PL = dict(mix=dict(type="HalfCutMix"), low_rank=1, num_anchors=16, num_negatives=6, num_keys=12)
# The same schedule in the run that is cut and in the other: it would end with the run.
U2PL |= dict(bank_size=40, first_bank_size=60, representation_channels=8, total_iters=100)
#: Encoder, side of the crop, settings of the encoder, method.
KINDS = dict(
    dinov2_frozen=(DINOv2, 28, dict(), dict(FIXMATCH, frozen_encoder=True)),
    dinov2_registers=(DINOv2, 28, dict(registers=4), FIXMATCH),
    dinov2_prevmatch=(DINOv2, 28, dict(), dict(FIXMATCH, type="PrevFixMatch", **PREVIOUS)),
    dinov3=(DINOv3, 32, dict(drop_path_rate=0.1), dict(FIXMATCH, type="UniMatchV2")),
    dinov3_u2pl=(DINOv3, 32, dict(), dict(type="U2PL", **U2PL)),
)


def with_crop(config, side: int):
    """A pipeline or data set config with another crop."""
    if isinstance(config, dict):
        return {
            key: (side, side) if key == "crop_size" else with_crop(value, side)
            for key, value in config.items()
        }
    return [with_crop(item, side) for item in config] if isinstance(config, list) else config


@pytest.fixture
def make_runner(semi_config, val_config, preprocessor_config, tmp_path, monkeypatch):
    monkeypatch.setattr(Runner, "_log_env", lambda *_: None)

    def make(kind: str, name: str, max_iters: int, **changes) -> Runner:
        family, side, settings, method = KINDS[kind]
        path = write_official(family(SIZE, **settings), tmp_path / "official.pth")
        backbone = dict(type=family.__name__, size=SIZE, **settings)
        backbone["init_cfg"] = dict(type="Pretrained", checkpoint=path)
        segmentor = dict(copy.deepcopy(VIT), type="PatchGridEncoderDecoder", backbone=backbone)
        counts = dict(labeled=2, unlabeled=2)
        config = dict(
            default_scope="mmseg",
            custom_imports=dict(imports=["mmsemi"], allow_failed_imports=False),
            model=dict(
                copy.deepcopy(method),
                segmentor=segmentor,
                data_preprocessor=dict(preprocessor_config, size=(side, side)),
            ),
            train_dataloader=dict(
                batch_size=4,
                num_workers=0,
                sampler=dict(type="MultiSourceSampler", num_per_source=counts),
                dataset=with_crop(semi_config, side),
            ),
            val_dataloader=dict(
                batch_size=1,
                num_workers=0,
                sampler=dict(type="DefaultSampler", shuffle=False),
                dataset=copy.deepcopy(val_config),
            ),
            val_evaluator=dict(type="IoUMetric", iou_metrics=["mIoU"]),
            test_pipeline=[dict(type="LoadImageFromFile"), dict(type="PackSegInputs")],
            optim_wrapper=dict(
                optimizer=dict(type="AdamW", lr=1e-3),
                paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0.1))),
            ),
            train_cfg=dict(type="SemiIterBasedTrainLoop", max_iters=max_iters, val_interval=9),
            val_cfg=dict(type="TeacherStudentValLoop"),
            default_hooks=dict(
                checkpoint=dict(type="AtomicCheckpointHook", by_epoch=False, interval=2)
            ),
            randomness=dict(seed=0),
            log_level="ERROR",
            work_dir=str(tmp_path / name),
            experiment_name=f"{tmp_path.name}_{name}_{max_iters}",
        )
        return Runner.from_cfg(Config({**config, **changes}))

    return make


def weights(model) -> dict[str, torch.Tensor]:
    return {key: value.clone() for key, value in model.state_dict().items()}


@pytest.mark.parametrize(
    "kind", ["dinov3", *(pytest.param(k, marks=pytest.mark.slow) for k in KINDS if k != "dinov3")]
)
def test_it_trains_validates_resumes_and_exports(kind, make_runner, tmp_path):
    family, side, settings, method = KINDS[kind]
    straight = make_runner(kind, "straight", 3)
    straight.train()
    assert 0 <= straight.message_hub.get_scalar("val/mIoU").current() <= 100
    official = official_tensors(family(SIZE, **settings))
    state = straight.model.student.backbone.state_dict()
    same = [name for name, value in state.items() if torch.equal(value, official[name])]
    is_frozen = method.get("frozen_encoder", False)
    assert len(same) == (len(state) if is_frozen else 0), "frozen, or all trained from the file"

    make_runner(kind, "resumed", 2).train()
    resumed = make_runner(kind, "resumed", 3, resume=True)
    resumed.train()
    ours, theirs = weights(straight.model), weights(resumed.model)
    assert all(torch.equal(value, theirs[key]) for key, value in ours.items())

    # Two sizes are two files; images of other sizes are refused where they are run.
    onnxruntime = pytest.importorskip("onnxruntime")
    checkpoint, model = tmp_path / "straight" / "iter_3.pth", straight.model.eval()
    patch = family.patch_size
    for height, width in ((2 * patch, 3 * patch), (3 * patch, 2 * patch)):
        out = tmp_path / f"{height}x{width}"
        result = export_segmentor(checkpoint, out, onnx=True, shape=(height, width))
        assert f"{height}x{width} only" in result.onnx and family.__name__ in result.onnx
        session = onnxruntime.InferenceSession(str(out / "net.onnx"))
        x = torch.randn(1, 3, height, width)
        metas = [dict(img_shape=(height, width), ori_shape=(height, width))]
        with torch.no_grad():
            expected = model.encode_decode(x, metas)
        found = torch.from_numpy(session.run(None, {"images": x.numpy()})[0])
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
        with pytest.raises(Exception, match="INVALID_ARGUMENT"):
            session.run(None, {"images": torch.randn(1, 3, width, height).numpy()})
    with pytest.raises(ConfigError, match=f"multiples of its patch, {patch}"):
        export_segmentor(checkpoint, tmp_path / "other", onnx=True, shape=(40, 48))

    config = Config.fromfile(out / "config.py")
    init_default_scope("mmseg")
    plain = MODELS.build(config.model).eval()
    load_checkpoint(plain, str(out / "weights.pth"), strict=True)
    images = torch.randn(1, 3, 40, 50)
    metas = [dict(img_shape=(40, 50), ori_shape=(40, 50))]
    with torch.no_grad():
        assert torch.equal(plain.encode_decode(images, metas), model.encode_decode(images, metas))


def test_the_log_names_the_licence(make_runner, caplog):
    runner = make_runner("dinov3", "run", 1)
    with caplog.at_level(logging.INFO):
        runner.logger.setLevel(logging.INFO)
        runner.logger.addHandler(caplog.handler)
        runner.model.init_weights()
    assert "DINOv3 License" in caplog.text and "official.pth" in caplog.text


def test_a_missing_file_says_what_to_do(make_runner, tmp_path):
    runner = make_runner("dinov3", "run", 1)
    for source in (str(tmp_path / "absent.pth"), f"file://{tmp_path}/absent.pth"):
        runner.model.student.backbone.init_cfg["checkpoint"] = source
        with pytest.raises(CheckpointError) as error:
            runner.model.init_weights()
        assert "absent.pth" in str(error.value) and "init_cfg=None" in str(error.value)
    assert not Path("absent.pth").exists()
