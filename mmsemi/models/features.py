# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""What the classifier of a decode head sees, for methods that compare features of pixels.

The rule: mmseg's heads end in ``cls_seg``, dropout and the 1x1 convolution ``conv_seg``; the features
are what ``cls_seg`` is given, before the dropout. Of a cascade it is the last stage. So it is for
``FCNHead``, ``PSPHead``, ``ASPPHead``, ``DepthwiseSeparableASPPHead``, ``DeepLabV3PlusHead``,
``UPerHead``, ``SegformerHead``, ``OCRHead`` and most others. ``DeepLabV2Head``, ``PointHead``,
``SegmenterMaskTransformerHead`` and K-Net's ``IterativeDecodeHead`` have no such place, and are refused.

Shape suffixes: N images, D channels, H rows, W columns; h, w of a grid of features.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from mmcv.cnn import build_norm_layer
from torch import Tensor, nn

from ..errors import ConfigError
from .forward import Outputs, decode_stages, encode, forward, two_class_logits


class Projector(nn.Sequential):
    """Two 1x1 convolutions with a ReLU between them, to the features that are compared.

    Args:
        in_channels: Channels of the features, and of the hidden layer.
        channels: Channels of the result.
    """

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__(
            nn.Conv2d(in_channels, in_channels, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(in_channels, channels, 1),
        )


class RepresentationHead(nn.Sequential):
    """Two 3x3 convolutions with norm, ReLU and channel dropout, and a 1x1 one, as U2PL's.

    Args:
        in_channels: Channels of the features.
        channels: Channels of the hidden layers and of the result.
        norm_cfg: Config of the norms.
        dropout: Probability that a channel is dropped.
    """

    def __init__(
        self, in_channels: int, channels: int, norm_cfg: dict | None, dropout: float = 0.1
    ) -> None:
        super().__init__(
            *convolutions(in_channels, channels, norm_cfg, dropout),
            nn.Conv2d(channels, channels, 1),
        )

    @classmethod
    def of(cls, net: nn.Module, channels: int) -> RepresentationHead:
        """Such a head for what a segmentor's classifier sees, with the norms of its decode head.

        Raises:
            ConfigError: The decode head has no such classifier.
        """
        norm_cfg = getattr(decode_stages(net)[-1], "norm_cfg", None)
        return cls(classifier_channels(net), channels, norm_cfg)


def convolutions(
    in_channels: int, channels: int, norm_cfg: dict | None, dropout: float
) -> list[nn.Module]:
    """The two 3x3 convolutions with norm, ReLU and channel dropout, of torch's own weights.

    In front of a norm they have no bias, which it would take off again.
    """
    layers: list[nn.Module] = []
    for width in (in_channels, channels):
        norm = [] if norm_cfg is None else [build_norm_layer(norm_cfg, channels)[1]]
        layers += [nn.Conv2d(width, channels, 3, padding=1, bias=not norm), *norm]
        layers += [nn.ReLU(inplace=True), nn.Dropout2d(dropout)]
    return layers


def classifier_channels(net: nn.Module) -> int:
    """Channels of the features that a segmentor's classifier sees.

    Raises:
        ConfigError: The decode head has no such classifier.
    """
    head = decode_stages(net)[-1]
    if hasattr(head, "feature_channels"):  # its classifier is more than a convolution
        return head.feature_channels
    classifier = getattr(head, "conv_seg", None)
    if not isinstance(classifier, nn.Conv2d) or classifier.kernel_size != (1, 1):
        raise ConfigError(_refusal(head))
    return classifier.in_channels


def _refusal(head: nn.Module) -> str:
    return (
        f"{type(head).__name__} has no features in front of its classifier, a 1x1 convolution that "
        "cls_seg is called for once: choose a decode head such as FCNHead, PSPHead, DeepLabV3PlusHead, "
        "DepthwiseSeparableASPPHead, SegformerHead or UPerHead"
    )


def classifier_features(net: nn.Module, x_NCHW: Tensor) -> Tensor:
    """What the classifier sees of normalised images; the classifier itself is not run.

    Returns:
        (N, D, h, w), of the head's own size.

    Raises:
        ConfigError: The decode head does not call ``cls_seg`` once.
    """
    feats, (*earlier, last) = encode(net, x_NCHW), decode_stages(net)
    previous: tuple[Tensor, ...] = ()
    for stage in earlier:
        previous = (stage(feats, *previous),)
    with _seen_by_classifier(last, lambda features: features) as seen:
        last(feats, *previous)
    return _only(seen, last)


def forward_with_features(
    net: nn.Module, x_NCHW: Tensor | Sequence[Tensor]
) -> tuple[Outputs, Tensor]:
    """Run a segmentor on normalised images, and return what its classifier saw, too.

    Args:
        net: The segmentor.
        x_NCHW: Images, or several batches of them, which share the forward.

    Returns:
        The outputs, and features (N, D, h, w) of the size of the head's own logits.

    Raises:
        ConfigError: The decode head does not call ``cls_seg`` once.
    """
    last = decode_stages(net)[-1]
    with _seen_by_classifier(last, last.cls_seg) as seen:
        outputs = forward(net, x_NCHW)
    return outputs, _only(seen, last)


@contextmanager
def _seen_by_classifier(head: nn.Module, classifier: Callable) -> Iterator[list[Tensor]]:
    """Within, the head calls this classifier; gives the list of what it is called with."""
    seen: list[Tensor] = []
    head.cls_seg = lambda features: seen.append(features) or classifier(features)
    try:
        yield seen
    finally:
        del head.cls_seg  # the method of its class is there again


def _only(seen: list[Tensor], head: nn.Module) -> Tensor:
    if len(seen) != 1:
        raise ConfigError(_refusal(head))
    return seen[0]


def classify(net: nn.Module, features_NDhw: Tensor) -> Tensor:
    """Logits of features from :func:`classifier_features`, with the head's dropout."""
    return two_class_logits(decode_stages(net)[-1].cls_seg(features_NDhw))


def nearest(maps_NHW: Tensor, size_hw: Sequence[int]) -> Tensor:
    """Maps of any type on a grid of features: pixel floor(i H / h) of each row and column."""
    for dim, size in zip((1, 2), size_hw):
        chosen = torch.arange(size, device=maps_NHW.device) * maps_NHW.shape[dim] // size
        maps_NHW = maps_NHW.index_select(dim, chosen)
    return maps_NHW


def pool_to_stride(features_NDhw: Tensor, size_hw: Sequence[int], stride: int) -> Tensor:
    """Features of images of ``size_hw`` on a grid of one cell for ``stride`` x ``stride`` pixels.

    Raises:
        ConfigError: The features are coarser than that, or their cells do not fit into it.
    """
    found = features_NDhw.shape[-2:]
    kernel = [have * stride // side for have, side in zip(found, size_hw)]
    if any(
        side % stride or k < 1 or k * side != have * stride
        for k, side, have in zip(kernel, size_hw, found)
    ):
        raise ConfigError(
            f"stride={stride}: the decode head's features are {tuple(found)} for images of "
            f"{tuple(size_hw)}, which is no whole number of cells of {stride} x {stride} pixels: set "
            "stride to that of the features or a multiple of it, and the crop to a multiple of stride"
        )
    return features_NDhw if kernel == [1, 1] else F.avg_pool2d(features_NDhw, kernel)
