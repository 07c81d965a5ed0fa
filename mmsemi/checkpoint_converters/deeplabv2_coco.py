# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""The DeepLabv2 ResNet-101 trained on MS-COCO that AdvSemiSeg starts from.

Its weights come from Caffe: images are BGR, 0-255, minus the mean, not divided.
"""

from __future__ import annotations

from pathlib import Path

from .common import match, read_tensors, save
from .deeplabv2 import PREFIXES, count_classes, network_shapes, preprocessor, rename


def convert(source: Path, out: Path, num_classes: int = 21) -> None:
    """Convert; the head is kept if it has the wanted number of classes.

    Args:
        source: The published checkpoint.
        out: The plain checkpoint to write.
        num_classes: The wanted number.

    Raises:
        CheckpointError: It is another net, or no readable checkpoint.
    """
    tensors = read_tensors(source, PREFIXES)
    in_file = count_classes(source, tensors)
    keeps_head = in_file == num_classes
    result = match(source, tensors, rename, network_shapes(num_classes if keeps_head else None))
    print(result.report())
    if in_file is None:
        print("the file has no head")
    elif not keeps_head:
        print(f"the head is left out: the file has {in_file} classes, you want {num_classes}")
    settings = preprocessor(is_rgb=False)
    save(out, source, result.state_dict, dict(data_preprocessor=settings))
    mean = ", ".join(map(str, settings["mean"]))
    print(f"wrote {out}\nthe weights expect BGR images, 0-255, minus ({mean}), not divided:")
    print("the configs of configs/advsemiseg are set so")
