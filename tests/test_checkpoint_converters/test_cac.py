# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""CAC's converter on files with the names and shapes of its released code."""

from __future__ import annotations

import pytest
import torch
from conftest import REPOSITORY
from mmengine.config import Config
from mmseg.registry import MODELS
from torch import Tensor

from mmsemi.checkpoint_converters import cac
from mmsemi.errors import CheckpointError

NORM = ("weight", "bias", "running_mean", "running_var")


def released_shapes(blocks: int, num_classes: int) -> dict[str, tuple[int, ...]]:
    """Written from the description of the net, not from ours; ``blocks`` of the third stage."""
    shapes: dict[str, tuple[int, ...]] = {}

    def add(conv: str, norm: str, *shape: int) -> None:
        shapes[f"encoder.{conv}.weight"] = shape
        shapes.update({f"encoder.{norm}.{part}": (shape[0],) for part in NORM})

    add("backbone.conv1", "backbone.bn1", 64, 3, 7, 7)
    before = 64
    for stage, (count, width) in enumerate([(3, 64), (4, 128), (blocks, 256), (3, 512)], start=1):
        for block in range(count):
            name = f"backbone.layer{stage}.{block}"
            add(f"{name}.conv1", f"{name}.bn1", width, before, 1, 1)
            add(f"{name}.conv2", f"{name}.bn2", width, width, 3, 3)
            add(f"{name}.conv3", f"{name}.bn3", 4 * width, width, 1, 1)
            if block == 0:
                add(f"{name}.downsample.0", f"{name}.downsample.1", 4 * width, before, 1, 1)
            before = 4 * width
    for branch, kernel in enumerate((1, 3, 3, 3), start=1):
        name = f"aspp.aspp{branch}"
        add(f"{name}.atrous_conv", f"{name}.bn", 256, 2048, kernel, kernel)
    add("aspp.global_avg_pool.1", "aspp.global_avg_pool.2", 256, 2048, 1, 1)
    add("aspp.conv1", "aspp.bn1", 256, 1280, 1, 1)
    add("decoder.conv1", "decoder.bn1", 48, 256, 1, 1)
    add("decoder.last_conv.0", "decoder.last_conv.1", 256, 304, 3, 3)
    add("decoder.last_conv.4", "decoder.last_conv.5", 256, 256, 3, 3)
    shapes["classifier.1.weight"], shapes["classifier.1.bias"] = (
        (num_classes, 256, 1, 1),
        (num_classes,),
    )
    for layer, out in ((0, 256), (2, 128)):
        shapes[f"project.{layer}.weight"], shapes[f"project.{layer}.bias"] = (
            (out, 256, 1, 1),
            (out,),
        )
    return shapes


def filled(shapes: dict[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """Tensors of one value each, all different, that take 4 bytes on disk."""
    return {
        name: torch.full((1,) * len(shape), float(number)).expand(shape)
        for number, (name, shape) in enumerate(shapes.items(), start=1)
    }


@pytest.mark.parametrize(("blocks", "parameters"), [(6, 40_352_181), (23, 59_344_309)])
def test_the_whole_net_is_found(tmp_path, capsys, blocks, parameters):
    tensors = filled(released_shapes(blocks, 21))
    source, out = tmp_path / "best_model.pth", tmp_path / "plain.pth"
    content = {f"module.{name}": value for name, value in tensors.items()}
    torch.save(dict(arch="CAC", epoch=79, state_dict=content, monitor_best=0.74), source)
    cac.convert(source, out)
    text = capsys.readouterr().out
    count = len(tensors) - 4  # without the projector
    assert (
        f"matched {count} of the network's {count} tensors" in text and "project.0.weight" in text
    )
    stored = torch.load(out, weights_only=True)
    assert (
        sum(v.numel() for k, v in stored["state_dict"].items() if "running" not in k) == parameters
    )

    config = Config.fromfile(REPOSITORY / "configs" / "supervised" / "voc_1-8_cac.py")
    config.model.segmentor.backbone.update(depth=stored["meta"]["depth"], init_cfg=None)
    with torch.device("meta"):
        net = MODELS.build(config.model.segmentor)
    net.load_state_dict(stored["state_dict"], strict=True, assign=True)
    head = net.decode_head
    pairs = {
        "encoder.backbone.layer4.2.conv2.weight": net.backbone.layer4[2].conv2.weight,
        "encoder.aspp.aspp3.atrous_conv.weight": head.aspp.branches[2].conv.weight,
        "encoder.aspp.aspp1.bn.running_var": head.aspp.branches[0].bn.running_var,
        "encoder.aspp.global_avg_pool.2.bias": head.aspp.image_conv.bn.bias,
        "encoder.aspp.bn1.weight": head.aspp.project.bn.weight,
        "encoder.decoder.conv1.weight": head.c1_bottleneck.conv.weight,
        "encoder.decoder.last_conv.4.weight": head.decoder[2].conv.weight,
        "encoder.decoder.last_conv.1.running_mean": head.decoder[0].bn.running_mean,
        "classifier.1.bias": head.conv_seg.bias,
    }
    for name, value in pairs.items():
        assert torch.equal(value, tensors[name]), name


def test_another_net_is_refused(tmp_path):
    source = tmp_path / "other.pth"
    torch.save({"conv1.weight": torch.zeros(64, 3, 7, 7)}, source)
    with pytest.raises(CheckpointError, match=r"other\.pth"):
        cac.convert(source, tmp_path / "out.pth")
    tensors = filled(released_shapes(6, 21))
    del tensors["encoder.decoder.bn1.bias"]
    torch.save(tensors, source)
    with pytest.raises(CheckpointError, match=r"c1_bottleneck\.bn\.bias"):
        cac.convert(source, tmp_path / "out.pth")
