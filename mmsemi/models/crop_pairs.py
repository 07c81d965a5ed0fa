# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Two crops of each image, as a network sees them and as they lie in the image.

Shape suffixes: N images, D channels, h rows, w columns of features; n pixels of the overlaps.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from ..errors import ConfigError
from ..structures import SECOND_CROP, Images, PseudoLabels, SemiBatch
from .losses import NO_LABEL, Pixels

Box = tuple[int, int, int, int]


class CropView(NamedTuple):
    """What a network says of one crop of each image, as the crop lies in the image.

    Attributes:
        features_NDhw: Features.
        label_Nhw: Pseudo-labels.
        confidence_Nhw: Their confidences.
    """

    features_NDhw: Tensor
    label_Nhw: Tensor
    confidence_Nhw: Tensor


def check_crop_pairs(batch: SemiBatch, stride: int) -> None:
    """Refuse unlabelled images that are no pairs of crops, or whose overlap has another stride.

    Raises:
        ConfigError: They are.
    """
    where = "train_dataloader.dataset.unlabeled.pipeline"
    second = batch.sources.get(SECOND_CROP)
    if second is None or len(second) != len(batch.unlabeled):
        raise ConfigError(
            f"the method compares two crops of each unlabelled image: end {where} with "
            "dict(type='OverlappingCropPair'), dict(type='PackSemiInputs')"
        )
    found = batch.unlabeled.samples[0].crop_pair.stride
    if found != stride:
        raise ConfigError(
            f"model.stride={stride}, but OverlappingCropPair in {where} has stride={found}: give both "
            "the same"
        )


def flip_chosen(x: Tensor, flips: Sequence[bool]) -> Tensor:
    """Flip those images or maps of a batch from left to right; the same again undoes it."""
    chosen = torch.tensor(flips).to(x.device, non_blocking=True)
    return torch.where(chosen.view(-1, *(1,) * (x.ndim - 1)), x.flip(-1), x)


def cut_overlap(view: CropView, boxes: Sequence[Box]) -> Pixels:
    """What a view says of the pixels of the overlaps, image after image.

    Args:
        view: The view.
        boxes: (top, bottom, left, right) of each image. They are numbers of the host, known from
            sampling, so that nothing waits for the device.
    """
    features_Dn, label_n, confidence_n = (
        torch.cat([x[..., top:bottom, left:right].flatten(-2) for x, (top, bottom, left, right) in pairs], -1)
        for pairs in (list(zip(maps, boxes)) for maps in view)
    )  # fmt: skip
    return Pixels(features_Dn.T, label_n, confidence_n)


def upsample_labels(view: CropView, stride: int) -> PseudoLabels:
    """Labels and confidences of the crops' own pixels, ``stride`` x ``stride`` alike."""
    label, confidence = (
        x.repeat_interleave(stride, 1).repeat_interleave(stride, 2) for x in view[1:]
    )
    return PseudoLabels(label, confidence)


def select_rows(
    view: CropView,
    crops: Images,
    count: int | None,
    ignore_padding: bool,
    generator: Generator | None,
) -> tuple[Tensor, Tensor]:
    """What a memory bank gets of whole crops: as many rows whatever they show.

    Args:
        view: What the network says of them.
        crops: The crops.
        count: Pixels of all crops to draw at random; None, or more than there are: all.
        ignore_padding: Whether cells with padding get :data:`NO_LABEL`, so that they count for nothing.
        generator: CPU generator.

    Returns:
        Features (R, D) and labels (R,).
    """
    rows_RD = view.features_NDhw.permute(0, 2, 3, 1).flatten(0, 2)
    labels_R = view.label_Nhw.flatten()
    if ignore_padding:
        stride = crops.valid_NHW.shape[-1] // view.label_Nhw.shape[-1]
        whole = F.avg_pool2d(crops.valid_NHW.float(), stride) == 1
        labels_R = torch.where(whole.flatten(), labels_R, NO_LABEL)
    if count is None or count >= len(rows_RD):  # their order changes nothing
        return rows_RD, labels_R
    chosen = torch.randperm(len(rows_RD), generator=generator)[:count]
    chosen = chosen.to(rows_RD.device, non_blocking=True)
    return rows_RD[chosen], labels_R[chosen]
