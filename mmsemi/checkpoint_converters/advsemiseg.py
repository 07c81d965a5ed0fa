# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Segmentation nets trained with the released code of AdvSemiSeg or s4GAN (DeepLabv2 ResNet-101).

Two things in that code decide how its checkpoints must be run. Its head returns after adding two of
the four branches. Its loader subtracts the BGR mean and then reverses the channels, so the net sees
RGB, minus the mean of the right channel, although the weights that it starts from are Caffe's (BGR).
The second holds for PASCAL VOC; s4GAN's loaders of other data sets differ.
"""

from __future__ import annotations

from pathlib import Path

from mmseg.datasets import PascalVOCDataset

from ..errors import CheckpointError
from ..utils.literals import to_plain
from .common import (
    cfg_options,
    match,
    read_tensors,
    save,
)
from .deeplabv2 import PREFIXES, count_classes, network_shapes, preprocessor, rename

_VOC_SIZE = (505, 505)  # test images are padded at the bottom and right to this size


def convert(source: Path, out: Path, branches: int = 2) -> None:
    """Convert a whole net, and say which settings it needs.

    Args:
        source: The published checkpoint.
        out: The plain checkpoint to write.
        branches: Branches of the head that were summed in training.

    Raises:
        CheckpointError: It is another net, or no readable checkpoint.
    """
    tensors = read_tensors(source, PREFIXES)
    num_classes = count_classes(source, tensors)
    if num_classes is None:
        raise CheckpointError(
            f"'{source}' has no layer5.conv2d_list: it is no net of AdvSemiSeg or s4GAN "
            "(a discriminator's file ends in _D)"
        )
    result = match(source, tensors, rename, network_shapes(num_classes))
    print(f"{result.report()}\n{num_classes} classes")
    meta: dict = dict(num_active_branches=branches)
    options = {"model.segmentor.decode_head.num_active_branches": branches}
    if num_classes == len(PascalVOCDataset.METAINFO["classes"]):
        settings = preprocessor(is_rgb=True)
        meta.update(data_preprocessor=settings, dataset_meta=to_plain(PascalVOCDataset.METAINFO))
        options.update({f"model.data_preprocessor.{key}": settings[key] for key in settings})
        options["model.data_preprocessor.test_cfg.size"] = _VOC_SIZE
        note = "the weights expect RGB images, unlike the Caffe weights that they started from"
    else:
        options["model.segmentor.decode_head.num_classes"] = num_classes
        note = (
            "not PASCAL VOC's number of classes: class names and input are not known; set mean, std "
            "and bgr_to_rgb of model.data_preprocessor as they were in training"
        )
    save(out, source, result.state_dict, meta)
    print(
        f"wrote {out}\n{note};\n"
        f"{branches} of the head's 4 branches are summed. "
        "With a config of configs/advsemiseg add\n"
        f"  --cfg-options \\\n{cfg_options(options)}"
    )
