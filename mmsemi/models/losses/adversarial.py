# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Losses and labels of the methods with a discriminator, and the maps that it is shown.

AdvSemiSeg: Hung et al., BMVC 2018, arXiv 1802.07934. s4GAN: Mittal et al., TPAMI 2021,
arXiv 1908.05724.

Shape suffixes: N images, C classes, K feature channels, H rows, W columns.

Decisions:

* Discriminators give logits; a threshold T on their sigmoid is one of log(T / (1 - T)) on the logit,
  so nothing saturates in half precision.
* Means run over the valid pixels; without one the loss is 0 and still has a graph.
* Half-precision inputs are raised to float32, under autocast too.
* Nothing here reads a value back to the host: selections are multiplications and ``torch.where``.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def full_precision(x: Tensor) -> Tensor:
    """In float32 at least: half precision is raised, double precision kept."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def masked_bce_with_logits(logits: Tensor, is_real: bool, valid: Tensor | None = None) -> Tensor:
    """Binary cross-entropy of a discriminator's logits with one target, mean over what is valid.

    softplus(-x) with the target "real", softplus(x) with "fake".

    Args:
        logits: Any shape, e.g. (N, 1, H, W) per pixel or (N, 1) per image; any float type.
        is_real: The target of all of them. The generator's loss asks for "real" on fakes.
        valid: bool, False where nothing counts, e.g. at ignored pixels; of the logits' shape, or of
            (N, H, W) for (N, 1, H, W).

    Returns:
        0-d tensor; 0 with a graph when nothing is valid.

    Raises:
        ValueError: ``valid`` has another shape, which would broadcast to pairs of images.
    """
    losses = F.softplus(-full_precision(logits) if is_real else full_precision(logits))
    if valid is None:
        return losses.mean()
    if valid.shape != logits.shape:
        if valid.shape != (*logits.shape[:1], *logits.shape[2:]) or logits.shape[1] != 1:
            raise ValueError(
                f"the valid mask {tuple(valid.shape)} does not fit discriminator logits "
                f"{tuple(logits.shape)}"
            )
        valid = valid.unsqueeze(1)
    return (losses * valid).sum() / valid.sum().clamp(min=1)


def feature_matching_loss(real_NK: Tensor, fake_NK: Tensor) -> Tensor:
    """Distance of the mean features: (1/K) sum_k |mean_n real - mean_n fake|.

    The batch means come first, so single images need not match, and the batches may differ in size.

    Args:
        real_NK: The discriminator's features of real maps; no gradient flows into them.
        fake_NK: Those of generated maps.

    Returns:
        0-d tensor.
    """
    return (full_precision(real_NK).detach().mean(0) - full_precision(fake_NK).mean(0)).abs().mean()


def one_hot_maps(labels_NHW: Tensor, num_classes: int, ignore_index: int = 255) -> Tensor:
    """What the discriminator sees of a ground truth: one-hot vectors, all zero where ignored.

    Args:
        labels_NHW: Class indices or ``ignore_index``, any integer type. Any other value that is no
            class also gives zeros.
        num_classes: C.
        ignore_index: Label of pixels without class; it may be below C.

    Returns:
        (N, C, H, W) float32 without gradient.
    """
    classes_1C11 = torch.arange(num_classes, device=labels_NHW.device).view(1, -1, 1, 1)
    labels_N1HW = labels_NHW.long().unsqueeze(1)
    return ((labels_N1HW == classes_1C11) & (labels_N1HW != ignore_index)).float()


def rescale_batch(images: Tensor) -> Tensor:
    """Bring a batch to [0, 1] by its own smallest and largest value; a constant one becomes 0.

    One range for the whole tensor: the images keep their relation. (s4GAN's code takes the range of
    real images from another batch, so they may leave [0, 1], which gives them away.)

    Args:
        images: Any shape and float type.

    Returns:
        Same shape, float32 at least, without gradient.
    """
    images = full_precision(images).detach()
    low, high = images.aminmax()
    span = high - low
    return (images - low) / torch.where(span > 0, span, torch.ones_like(span))


def _logit_of(threshold: float, name: str) -> float:
    if not 0 <= threshold <= 1:
        raise ValueError(f"{name}={threshold} is not a probability in [0, 1]")
    if threshold in (0, 1):
        return math.inf if threshold else -math.inf
    return math.log(threshold / (1 - threshold))


def trusted_labels(
    logits_NCHW: Tensor,
    confidence_N1HW: Tensor,
    threshold: float = 0.2,
    ignore_index: int = 255,
    valid_NHW: Tensor | None = None,
) -> Tensor:
    """AdvSemiSeg's pseudo-labels: the likeliest class where the discriminator is convinced.

    Args:
        logits_NCHW: The generator's logits.
        confidence_N1HW: The discriminator's logits, at the same size.
        threshold: T; pixels with sigmoid(confidence) >= T are trusted. 0 trusts all pixels, 1 none.
        ignore_index: Label of the other pixels.
        valid_NHW: bool, False on padding, which is never trusted.

    Returns:
        (N, H, W) int64, without gradient.

    Raises:
        ValueError: ``threshold`` is no probability, or the sizes differ.
    """
    n, _, h, w = logits_NCHW.shape
    if confidence_N1HW.shape != (n, 1, h, w):
        raise ValueError(
            f"discriminator logits {tuple(confidence_N1HW.shape)} do not fit segmentation logits "
            f"{tuple(logits_NCHW.shape)}: resize them to (N, 1, H, W)"
        )
    trusted_NHW = full_precision(confidence_N1HW[:, 0]).detach() >= _logit_of(
        threshold, "threshold"
    )
    if valid_NHW is not None:
        trusted_NHW = trusted_NHW & valid_NHW
    labels_NHW = logits_NCHW.detach().max(1).indices  # those of argmax, and faster on the CPU
    return torch.where(trusted_NHW, labels_NHW, ignore_index)


def selected_image_labels(
    logits_NCHW: Tensor,
    score_N1: Tensor,
    threshold: float = 0.6,
    ignore_index: int = 255,
    valid_NHW: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """s4GAN's pseudo-labels: the likeliest class at all pixels of the images that convince.

    Args:
        logits_NCHW: The generator's logits.
        score_N1: The discriminator's logit for each image.
        threshold: gamma; images with sigmoid(score) > gamma are selected (never equal, unlike
            :func:`trusted_labels`, as in the released code). 0 selects all images, 1 none.
        ignore_index: Label of the other images.
        valid_NHW: bool, False on padding, which is never labelled.

    Returns:
        Labels (N, H, W) int64 and the selection (N,) bool, both without gradient.

    Raises:
        ValueError: ``threshold`` is no probability.
    """
    selected_N = full_precision(score_N1).detach().flatten() > _logit_of(threshold, "threshold")
    kept = selected_N[:, None, None]
    if valid_NHW is not None:
        kept = kept & valid_NHW
    labels_NHW = logits_NCHW.detach().max(1).indices
    return torch.where(kept, labels_NHW, ignore_index), selected_N
