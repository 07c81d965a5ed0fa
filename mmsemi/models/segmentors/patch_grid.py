# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Testing with an encoder that takes sides of a multiple of its patch only."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.logging import print_log
from mmseg.registry import MODELS
from torch import Tensor, nn

from ...errors import ConfigError
from .probability_windows import ProbabilityWindowEncoderDecoder


@MODELS.register_module()
class PatchGridEncoderDecoder(ProbabilityWindowEncoderDecoder):
    """``EncoderDecoder`` that tests images of any size on an encoder with a ``patch_size``.

    As UniMatch V2 tests: a whole image, or a window, is resized to the nearest multiple of the patch on each
    side, and its logits back, both bilinear with aligned corners; the probabilities of overlapping windows
    are averaged. A size that is a multiple already is left as it is. Training is the stock one: crops are
    multiples. The weights are those of the stock class.

    Raises:
        ConfigError: The backbone has no ``patch_size``.
    """

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.patch_size = getattr(self.backbone, "patch_size", None)
        if not isinstance(self.patch_size, int):
            raise ConfigError(
                f"PatchGridEncoderDecoder resizes to the patch of its backbone, and "
                f"{type(self.backbone).__name__} has no patch_size: use type='EncoderDecoder' or "
                "'ProbabilityWindowEncoderDecoder'"
            )

    def encode_decode(self, inputs: Tensor, batch_img_metas: list[dict]) -> Tensor:
        """Logits (N, C, H, W) of images (N, 3, H, W) of any size."""
        size = inputs.shape[-2:]
        near = torch.Size(nearest_multiple(side, self.patch_size) for side in size)
        metas = [{**meta, "img_shape": near} for meta in batch_img_metas]
        logits = super().encode_decode(_resize(inputs, near), metas)
        return _resize(logits, size)


def check_sizes(net: nn.Module, crop_hw: Sequence[int] | None) -> None:
    """See before a training that its encoder takes the crop, and what is tested.

    Args:
        net: A segmentor; one whose backbone is particular about sizes has ``check_sides``.
        crop_hw: Size of the training crop, if it is known.

    Raises:
        ConfigError: The crop, or a window of the test, is no multiple of the patch.
    """
    check_sides = getattr(net.backbone, "check_sides", None)
    if check_sides is None:
        return
    if crop_hw is not None:
        check_sides(crop_hw)
    if isinstance(net, PatchGridEncoderDecoder):
        return
    if (net.test_cfg or {}).get("mode") == "slide":
        check_sides(net.test_cfg.crop_size)
        return
    print_log(
        f"validation ends with an error where the sides of an image are no multiples of "
        f"{type(net.backbone).__name__}'s patch: segmentor.type='PatchGridEncoderDecoder' resizes images",
        "current",
        logging.WARNING,
    )


def nearest_multiple(side: int, patch: int) -> int:
    """The multiple of ``patch`` that is nearest to ``side`` and at least one; the larger of two."""
    return max(1, int(side / patch + 0.5)) * patch


def _resize(x_NCHW: Tensor, size_hw: torch.Size) -> Tensor:
    if x_NCHW.shape[-2:] == size_hw:
        return x_NCHW
    return F.interpolate(x_NCHW, size_hw, mode="bilinear", align_corners=True)
