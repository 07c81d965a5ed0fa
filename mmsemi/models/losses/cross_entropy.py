# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Pixel cross-entropies: pure functions first, the registered modules around them.

Shape suffixes: N images, C classes, H rows, W columns; ``logits_NCHW`` is (N, C, H, W).

Decisions:

* The mean runs over the pixels that are not ignored (all images pooled), as in every published
  method's ``nn.CrossEntropyLoss(ignore_index=255)``. Without such a pixel the loss is 0 and still
  has a graph, so that all ranks take the same path and no NaN reaches the weights.
* Nothing here reads a value back to the host: selections are multiplications and ``torch.where``.
* Half-precision logits are raised to float32, under autocast too.
* Per-pixel losses are summed outside the kernel (``reduction='none'``), because the fused
  reduction is not deterministic on CUDA.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor, nn

from ...structures import PseudoLabels


def _pixel_losses(
    logits_NCHW: Tensor, labels_NHW: Tensor, ignore_index: int
) -> tuple[Tensor, Tensor]:
    """Return the cross-entropy of every pixel (0 where ignored) and the mask of valid pixels."""
    if logits_NCHW.ndim < 2 or logits_NCHW.shape[1] < 2:
        raise ValueError(
            f"cross-entropy needs logits of at least 2 classes, got shape "
            f"{tuple(logits_NCHW.shape)}: set out_channels=num_classes in the decode head"
        )
    if logits_NCHW.dtype in (torch.float16, torch.bfloat16):
        logits_NCHW = logits_NCHW.float()
    losses_NHW = F.cross_entropy(
        logits_NCHW, labels_NHW.long(), ignore_index=ignore_index, reduction="none"
    )
    return losses_NHW, labels_NHW != ignore_index


def cross_entropy(
    logits_NCHW: Tensor,
    labels_NHW: Tensor,
    ignore_index: int = 255,
    weight_NHW: Tensor | None = None,
    over_all: bool = False,
) -> Tensor:
    """Mean cross-entropy over the pixels that are not ignored.

    Args:
        logits_NCHW: Scores before softmax, any float type; computed in at least float32.
        labels_NHW: Class indices 0..C-1 or ``ignore_index``, any integer type.
        ignore_index: Label of pixels that do not count.
        weight_NHW: Optional weight per pixel (float or bool). It scales the pixel's loss and
            leaves the divisor, the number of valid pixels, as it is: a 0/1 confidence mask thus
            gives the FixMatch form of the mean.
        over_all: The divisor counts ignored pixels, too (AugSeg).

    Returns:
        0-d tensor; 0 with a graph when every pixel is ignored.
    """
    losses_NHW, valid_NHW = _pixel_losses(logits_NCHW, labels_NHW, ignore_index)
    if weight_NHW is not None:
        losses_NHW = losses_NHW * weight_NHW.to(losses_NHW.dtype)
    return losses_NHW.sum() / (valid_NHW.numel() if over_all else valid_NHW.sum().clamp(min=1))


def is_confident(pseudo: PseudoLabels, threshold: float | Tensor) -> Tensor:
    """Which pseudo-labels (N, H, W) have a confidence of at least ``threshold``.

    Args:
        pseudo: Labels and confidences.
        threshold: One for all pixels, or (C,) one for the label of each; at ignored pixels it is any of them.
    """
    if isinstance(threshold, Tensor):
        threshold = threshold[pseudo.label_NHW.clamp(0, len(threshold) - 1)]
    return pseudo.confidence_NHW >= threshold


def confident_cross_entropy(
    logits_NCHW: Tensor,
    pseudo: PseudoLabels,
    threshold: float | Tensor,
    ignore_index: int = 255,
    num_views: int = 1,
    over_all: bool = False,
    by_share: bool = False,
) -> Tensor:
    """Cross-entropy to confident pseudo-labels, mean over ALL valid pixels of a view (FixMatch).

    Few confident pixels thus give a small loss.

    Args:
        logits_NCHW: Of one or more views, view after view.
        pseudo: Label, ``ignore_index`` on padding, and confidence of each view.
        threshold: tau; pixels with a confidence of at least it count, see :func:`is_confident`.
        ignore_index: Label of pixels that do not count.
        num_views: Each view has a mean of its own; returned is the mean of these.
        over_all: See :func:`cross_entropy`.
        by_share: Every valid pixel counts instead, times the share of them that are confident, one number for
            all images of a view (ClassMix, Olsson et al., WACV 2021).
    """
    confident = is_confident(pseudo, threshold)

    def of_view(logits_NCHW: Tensor, label_NHW: Tensor, weight_NHW: Tensor) -> Tensor:
        if by_share:
            valid_NHW = label_NHW != ignore_index
            weight_NHW = (weight_NHW & valid_NHW).sum() / valid_NHW.sum().clamp(min=1)
        return cross_entropy(logits_NCHW, label_NHW, ignore_index, weight_NHW, over_all)

    views = zip(*(t.chunk(num_views) for t in (logits_NCHW, pseudo.label_NHW, confident)))
    losses = [of_view(*view) for view in views]
    return losses[0] if num_views == 1 else torch.stack(losses).mean()


def image_confidence_cross_entropy(
    logits_NCHW: Tensor,
    pseudo: PseudoLabels,
    valid_NHW: Tensor,
    ignore_index: int = 255,
    num_views: int = 1,
    released_batch: int | None = None,
) -> Tensor:
    """Cross-entropy weighted by the mean confidence of its image, mean over the valid pixels of a view.

    With V the valid pixels, V_b those of image b and c_b the mean confidence on them, it is
    1/|V| sum_b c_b sum_{V_b} CE. The code of SemiVL, and of PrevMatch on Cityscapes (Shin et al., WACV
    2026, arXiv 2405.20610), computes B mean_b(c_b) 1/|V| sum CE instead, with the sum over all pixels,
    ignored ones too, and the number B of images on the GPU: about B times as much.

    Args:
        logits_NCHW: Of one or more views, view after view.
        pseudo: Label and confidence of each view, on padding too.
        valid_NHW: bool, False on padding.
        ignore_index: Label of further pixels that do not count.
        num_views: Each view has a mean of its own; returned is the mean of these.
        released_batch: B of the released form, whatever the batch is; None: the first form.

    Returns:
        0-d tensor; 0 with a graph when no pixel counts.
    """
    losses = []
    parts = (logits_NCHW, pseudo.label_NHW, pseudo.confidence_NHW, valid_NHW)
    for logits, label, confidence, valid in zip(*(t.chunk(num_views) for t in parts)):
        pixels, labeled = _pixel_losses(logits, label, ignore_index)
        valid = valid & labeled
        certain_N = (confidence * valid).sum((1, 2)) / valid.sum((1, 2)).clamp(min=1)
        if released_batch is None:
            weighed = ((pixels * valid).sum((1, 2)) * certain_N).sum()
        else:
            weighed = released_batch * certain_N.mean() * pixels.sum()
        losses.append(weighed / valid.sum().clamp(min=1))
    return torch.stack(losses).mean()


def kept_share(pseudo: PseudoLabels, threshold: float | Tensor, ignore_index: int = 255) -> Tensor:
    """Share of the valid pixels whose pseudo-label is confident, 0-d."""
    valid = pseudo.label_NHW != ignore_index
    kept = valid & is_confident(pseudo, threshold)
    return kept.sum() / valid.sum().clamp(min=1)


def ohem_cross_entropy(
    logits_NCHW: Tensor,
    labels_NHW: Tensor,
    thresh: float = 0.7,
    min_kept: int = 50_000,
    ignore_index: int = 255,
    weight_NHW: Tensor | None = None,
) -> Tensor:
    """Mean cross-entropy over the hard pixels of the batch.

    With q the softmax probability of a pixel's true class (1 for an ignored pixel), K =
    ``min_kept`` and t = max(``thresh``, K-th smallest q), the valid pixels with q <= t are kept.
    When K exceeds the number of valid pixels, all of them are kept. This is the loss of the CPS
    Cityscapes experiments (Chen et al., CVPR 2021, arXiv 2106.01226, released code); mmseg's
    ``OhemCrossEntropy`` differs in the comparison, in the rank and in the small-batch case.

    Args:
        logits_NCHW: Scores before softmax, any float type; computed in at least float32.
        labels_NHW: Class indices 0..C-1 or ``ignore_index``, any integer type.
        thresh: Probability in [0, 1] up to which a pixel is always kept.
        min_kept: K, number of pixels kept at least, over the whole tensor. 0 keeps only the
            pixels up to ``thresh``.
        ignore_index: Label of pixels that do not count.
        weight_NHW: Optional weight per pixel; scales the loss, not the divisor.

    Returns:
        0-d tensor; 0 with a graph when every pixel is ignored.
    """
    losses_NHW, valid_NHW = _pixel_losses(logits_NCHW, labels_NHW, ignore_index)
    kept_NHW = valid_NHW
    if min_kept <= valid_NHW.numel():
        # exp(-CE) is the true class' softmax probability, and 1 where the pixel is ignored.
        prob_NHW = losses_NHW.detach().neg().exp()
        limit = prob_NHW.new_full((), thresh)
        if min_kept > 0:
            # A full sort, because kthvalue has no deterministic form on CUDA.
            limit = limit.maximum(prob_NHW.flatten().sort().values[min_kept - 1])
        # Fewer than K valid pixels: the K-th smallest is an ignored one's 1, which keeps them all.
        kept_NHW = valid_NHW & (prob_NHW <= limit)
    kept_losses_NHW = losses_NHW * kept_NHW
    if weight_NHW is not None:
        kept_losses_NHW = kept_losses_NHW * weight_NHW.to(losses_NHW.dtype)
    return kept_losses_NHW.sum() / kept_NHW.sum().clamp(min=1)


@MODELS.register_module()
class PixelCrossEntropy(nn.Module):
    """``loss_decode`` module: mean cross-entropy over the pixels that are not ignored.

    Same value as mmseg's ``CrossEntropyLoss(avg_non_ignore=True)``, which gives 0 (no NaN) on an
    all-ignored batch too. What differs: that one reads the number of valid pixels back to the
    host, a wait for the GPU in every step; this one does not.

    Args:
        loss_weight: Factor of the loss.
        loss_name: Key in the loss dict; it must contain 'loss' to be back-propagated.
    """

    use_sigmoid = False  # as mmseg's losses tell it

    def __init__(self, loss_weight: float = 1.0, loss_name: str = "loss_ce") -> None:
        super().__init__()
        self.loss_weight = loss_weight
        self._loss_name = loss_name

    @property
    def loss_name(self) -> str:
        """Key of this loss in the loss dict of a decode head."""
        return self._loss_name

    def forward(
        self,
        cls_score: Tensor,
        label: Tensor,
        weight: Tensor | None = None,
        ignore_index: int = 255,
        **kwargs,
    ) -> Tensor:
        """Return the weighted loss, a 0-d tensor; see :func:`cross_entropy`."""
        return self.loss_weight * cross_entropy(cls_score, label, ignore_index, weight)


@MODELS.register_module()
class ProbOhemCrossEntropy(nn.Module):
    """``loss_decode`` module: cross-entropy over the hard pixels, see :func:`ohem_cross_entropy`.

    Args:
        thresh: Probability in [0, 1] up to which a pixel is always kept.
        min_kept: Number of pixels kept at least **per GPU**: the CPS experiments use 50 000 for
            each labelled image on the GPU.
        loss_weight: Factor of the loss.
        loss_name: Key in the loss dict; it must contain 'loss' to be back-propagated.

    Raises:
        ValueError: ``thresh`` outside [0, 1] or negative ``min_kept``.
    """

    use_sigmoid = False  # as mmseg's losses tell it

    def __init__(
        self,
        thresh: float = 0.7,
        min_kept: int = 50_000,
        loss_weight: float = 1.0,
        loss_name: str = "loss_ohem",
    ) -> None:
        super().__init__()
        if not 0 <= thresh <= 1:
            raise ValueError(
                f"ProbOhemCrossEntropy: thresh={thresh} is not a probability in [0, 1]"
            )
        if min_kept < 0:
            raise ValueError(f"ProbOhemCrossEntropy: min_kept={min_kept} must not be negative")
        self.thresh = thresh
        self.min_kept = min_kept
        self.loss_weight = loss_weight
        self._loss_name = loss_name

    @property
    def loss_name(self) -> str:
        """Key of this loss in the loss dict of a decode head."""
        return self._loss_name

    def forward(
        self,
        cls_score: Tensor,
        label: Tensor,
        weight: Tensor | None = None,
        ignore_index: int = 255,
        **kwargs,
    ) -> Tensor:
        """Return the weighted loss, a 0-d tensor; see :func:`ohem_cross_entropy`."""
        return self.loss_weight * ohem_cross_entropy(
            cls_score, label, self.thresh, self.min_kept, ignore_index, weight
        )
