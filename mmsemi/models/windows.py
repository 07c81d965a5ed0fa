# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Sliding windows of an image, several in a forward.

The stock loop runs one window after the other, and adds each of them to a map of the whole image that
it pads with zeros. The windows here are the same, and so is the order in which they are added.

Shape suffixes: N images, C classes, H rows, W columns; h, w of a window.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import torch
from mmseg.models import EncoderDecoder
from torch import Tensor, nn

from ..errors import ConfigError

#: Windows of a batch of images that one forward takes, where ``test_cfg`` does not say.
WINDOWS_PER_FORWARD = 8

Metas = list[dict]


def window_corners(
    size_hw: Sequence[int], crop_hw: Sequence[int], stride_hw: Sequence[int]
) -> list[tuple[int, int]]:
    """Upper left corners of mmseg's windows; the last ones are shifted into the image."""
    starts = [
        [min(i * step, max(size - crop, 0)) for i in range(-(-max(size - crop, 0) // step) + 1)]
        for size, crop, step in zip(size_hw, crop_hw, stride_hw)
    ]
    return [(y, x) for y in starts[0] for x in starts[1]]


def slide_windows(
    net: nn.Module,
    inputs_NCHW: Tensor,
    metas: Metas,
    decode: Callable[[Tensor, Metas], Tensor] | None = None,
) -> Tensor:
    """Mean of the logits of all windows that cover a pixel, ``EncoderDecoder.slide_inference``.

    Args:
        net: A segmentor with ``test_cfg.crop_size`` and ``.stride``. ``test_cfg.windows_per_forward``
            is how many windows a forward takes; with 1 the values are mmseg's to the last bit.
        inputs_NCHW: Images of one size.
        metas: Their metainfo.
        decode: Gives (M, C, h, w) for windows (M, 3, h, w) and their metainfo; None: their logits.

    Returns:
        (N, C, H, W).

    Raises:
        ConfigError: ``test_cfg.windows_per_forward`` is no whole number of at least 1.
    """
    cfg, decode = net.test_cfg, decode or net.encode_decode
    most = cfg.get("windows_per_forward", WINDOWS_PER_FORWARD)
    if type(most) is not int or most < 1:
        raise ConfigError(
            f"test_cfg.windows_per_forward={most!r} must be a whole number of at least 1"
        )
    images, (height, width) = len(inputs_NCHW), inputs_NCHW.shape[-2:]
    h, w = min(cfg.crop_size[0], height), min(cfg.crop_size[1], width)
    corners = window_corners((height, width), cfg.crop_size, cfg.stride)
    own = [dict(meta, img_shape=torch.Size((h, w))) for meta in metas]
    total_NCHW = inputs_NCHW.new_zeros((images, net.out_channels, height, width))
    count_HW = inputs_NCHW.new_zeros((height, width))
    per_forward = max(1, most // images)
    for first in range(0, len(corners), per_forward):
        chosen = corners[first : first + per_forward]
        windows = torch.cat([inputs_NCHW[:, :, y : y + h, x : x + w] for y, x in chosen])
        parts = decode(windows, own * len(chosen)).split(images)
        for (y, x), part_NChw in zip(chosen, parts):
            total_NCHW[:, :, y : y + h, x : x + w] += part_NChw
            count_HW[y : y + h, x : x + w] += 1
    return total_NCHW / count_HW


@contextmanager
def several_windows(net: nn.Module) -> Iterator[nn.Module]:
    """The network; within, one with mmseg's loop over windows takes several of them in a forward."""
    is_stock = getattr(type(net), "slide_inference", None) is EncoderDecoder.slide_inference
    if is_stock:
        net.slide_inference = partial(slide_windows, net)
    try:
        yield net
    finally:
        if is_stock:
            del net.slide_inference  # the method of its class is there again
