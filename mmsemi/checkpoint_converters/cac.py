# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""DeepLabv3+ trained with the released code of CAC (ResNet-50 or ResNet-101).

Names of the released code, recalled [R]: ``encoder.backbone`` as torchvision, ``encoder.aspp`` with
``aspp1`` to ``aspp4``, ``global_avg_pool``, ``conv1`` and ``bn1``, ``encoder.decoder`` with ``conv1``,
``bn1`` and ``last_conv``, ``classifier.1``, and ``project``, the projector, which is left out.
"""

from __future__ import annotations

import re
from pathlib import Path

import torch
from mmseg.models.backbones import ResNet

from ..errors import CheckpointError
from ..models.heads import DeepLabV3PlusHead
from .common import Shape, cfg_options, match, read_tensors, save, shapes_of

# Modules of the released head, and ours; {} stands for what one name has and the other keeps.
_HEAD = {
    r"aspp\.aspp([1-4])\.atrous_conv": "aspp.branches.{}.conv",
    r"aspp\.aspp([1-4])\.bn": "aspp.branches.{}.bn",
    r"aspp\.global_avg_pool\.1": "aspp.image_conv.conv",
    r"aspp\.global_avg_pool\.2": "aspp.image_conv.bn",
    r"aspp\.conv1": "aspp.project.conv",
    r"aspp\.bn1": "aspp.project.bn",
    r"decoder\.conv1": "c1_bottleneck.conv",
    r"decoder\.bn1": "c1_bottleneck.bn",
    r"decoder\.last_conv\.0": "decoder.0.conv",
    r"decoder\.last_conv\.1": "decoder.0.bn",
    r"decoder\.last_conv\.4": "decoder.2.conv",
    r"decoder\.last_conv\.5": "decoder.2.bn",
}


def rename(name: str) -> str | None:
    """The mmseg name for a name of the released code, ``None`` for what has none."""
    module, _, part = name.rpartition(".")
    if module == "classifier.1":
        return f"decode_head.conv_seg.{part}"
    if module.startswith("encoder.backbone."):
        return name.removeprefix("encoder.")
    for pattern, ours in _HEAD.items():
        found = re.fullmatch(rf"encoder\.{pattern}", module)
        if found:
            branch = int(found[1]) - 1 if found.groups() else ""
            return f"decode_head.{ours.format(branch)}.{part}"
    return None


def network_shapes(depth: int, num_classes: int) -> dict[str, Shape]:
    """Names and shapes of the network."""
    with torch.device("meta"):
        head = DeepLabV3PlusHead(aspp_form="cac", num_classes=num_classes)
        return {
            **shapes_of(ResNet(depth=depth), "backbone."),
            **shapes_of(head, "decode_head."),
        }


def convert(source: Path, out: Path) -> None:
    """Convert a whole net, and say which settings it needs.

    Args:
        source: The published checkpoint.
        out: The plain checkpoint to write.

    Raises:
        CheckpointError: It is another net, or no readable checkpoint.
    """
    tensors = read_tensors(source)
    classifier = tensors.get("classifier.1.weight")
    if classifier is None or classifier.ndim != 4:
        raise CheckpointError(
            f"'{source}' has no classifier.1.weight: it is no DeepLabv3+ of CAC's released code"
        )
    depth = 101 if "encoder.backbone.layer3.22.conv1.weight" in tensors else 50
    result = match(source, tensors, rename, network_shapes(depth, len(classifier)))
    print(f"{result.report()}\nResNet-{depth}, {len(classifier)} classes")
    save(out, source, result.state_dict, dict(depth=depth, num_classes=len(classifier)))
    options = {
        "model.segmentor.backbone.depth": depth,
        "model.segmentor.decode_head.num_classes": len(classifier),
    }
    print(
        f"wrote {out}; images are RGB, divided by the ImageNet deviations, as in the configs. "
        "With configs/supervised/voc_1-8_cac.py, or cityscapes_1-8_cac.py, add\n"
        f"  --cfg-options \\\n{cfg_options(options)}"
    )
