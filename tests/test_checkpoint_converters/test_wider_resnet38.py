# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""The Wide ResNet-38 converter on files with the ports' names, with and without wrapped norms."""

from __future__ import annotations

import pytest
import torch

from mmsemi.checkpoint_converters import wider_resnet38
from mmsemi.errors import CheckpointError
from mmsemi.models.backbones import WiderResNet38

NORM = ("weight", "bias", "running_mean", "running_var")
# Channels of a block's convolutions and number of blocks, mod2 to mod7.
MODULES = [
    ((128, 128), 3),
    ((256, 256), 3),
    ((512, 512), 6),
    ((512, 1024), 3),
    ((512, 1024, 2048), 1),
    ((1024, 2048, 4096), 1),
]


def ported_shapes(wrapped: bool) -> dict[str, tuple[int, ...]]:
    inner = ".0" if wrapped else ""
    shapes: dict[str, tuple[int, ...]] = {"mod1.conv1.weight": (64, 3, 3, 3)}
    before = 64
    for module, (channels, blocks) in enumerate(MODULES, start=2):
        for block in range(1, blocks + 1):
            name = f"mod{module}.block{block}"
            inputs = (before, *channels[:-1])
            kernels = (3, 3) if len(channels) == 2 else (1, 3, 1)
            for i, (a, b, k) in enumerate(zip(inputs, channels, kernels), start=1):
                norm = f"{name}.bn{i}" if i == 1 else f"{name}.convs.bn{i}"
                shapes.update({f"{norm}{inner}.{part}": (a,) for part in NORM})
                shapes[f"{name}.convs.conv{i}.weight"] = (b, a, k, k)
            if before != channels[-1] or name == "mod4.block1":
                shapes[f"{name}.proj_conv.weight"] = (channels[-1], before, 1, 1)
            before = channels[-1]
    shapes.update({f"bn_out{inner}.{part}": (4096,) for part in NORM})
    shapes.update({"classifier.fc.weight": (1000, 4096), "classifier.fc.bias": (1000,)})
    return shapes


@pytest.mark.parametrize("wrapped", [True, False])
def test_the_whole_trunk_is_found(tmp_path, capsys, wrapped):
    tensors = {
        name: torch.full((1,) * len(shape), float(number)).expand(shape)
        for number, (name, shape) in enumerate(ported_shapes(wrapped).items(), start=1)
    }
    source, out = tmp_path / "ported.pth.tar", tmp_path / "trunk.pth"
    torch.save(dict(state_dict={f"module.{k}": v for k, v in tensors.items()}, epoch=90), source)
    wider_resnet38.convert(source, out)
    count = len(tensors) - 6  # without the last norm and the classifier
    text = capsys.readouterr().out
    assert f"matched {count} of the network's {count} tensors" in text
    assert "bn_out" in text and "(6 in all)" in text

    state_dict = torch.load(out, weights_only=True)["state_dict"]
    with torch.device("meta"):
        net = WiderResNet38()
    own = {key.removeprefix("backbone."): value for key, value in state_dict.items()}
    net.load_state_dict(own, strict=True, assign=True)
    inner = ".0" if wrapped else ""
    pairs = {
        f"mod5.block2.bn1{inner}.bias": net.mod5[1].norms[0].bias,
        f"mod5.block2.convs.bn2{inner}.running_var": net.mod5[1].norms[1].running_var,
        "mod6.block1.convs.conv3.weight": net.mod6[0].convs[2].weight,
        "mod7.block1.proj_conv.weight": net.mod7[0].projection.weight,
        "mod1.conv1.weight": net.mod1.weight,
    }
    for name, value in pairs.items():
        assert torch.equal(value, tensors[name]), name


def test_another_net_is_refused(tmp_path):
    source = tmp_path / "other.pth"
    torch.save({"conv1.weight": torch.zeros(64, 3, 3, 3)}, source)
    with pytest.raises(CheckpointError, match=r"other\.pth' has 0 "):
        wider_resnet38.convert(source, tmp_path / "out.pth")
