# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Contrastive losses of pixels against a bank of others, without the matrix of all their products.

Lai, Tian, Jiang, Liu, Zhao, Wang, Jia, *Semi-supervised Semantic Segmentation with Directional
Context-aware Consistency* (CAC), CVPR 2021, arXiv 2106.14133.

Shape suffixes: N pixels that correspond, R rows of the bank, D channels.

Decisions:

* The logarithm of the sum over the bank is streamed over chunks of rows, with the largest logit of
  the rows that count so far. The same pass sums the rows by their weights, which is the gradient: the
  backward multiplies no matrix again, and memory does not grow with the bank.
* A pixel is the anchor of at most one direction, so both directions are one pass over the bank.
* Everything is float32, under autocast too: with tau = 0.1 a term can be exp(20) times another.
* ``eps`` gives the released code's value: it shifts by the largest logit of the first rows whether
  they count or not, and adds ``eps`` inside the quotient and inside the logarithm. An anchor that is
  far from its target then gets another loss and another gradient.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from .adversarial import full_precision

#: Label of bank rows that are no negative of any pixel.
NO_LABEL = -1
# The first rows, from which the released code takes the number that it shifts all logits by.
_RELEASED_CHUNK = 8000


class Pixels(NamedTuple):
    """What one view says of N pixels.

    Attributes:
        features_ND: Unit vectors, any float type.
        label_N: Pseudo-labels, int64.
        confidence_N: Their confidences, in [0, 1].
    """

    features_ND: Tensor
    label_N: Tensor
    confidence_N: Tensor


class DirectionalLosses(NamedTuple):
    """What :func:`directional_contrastive_loss` gives, 0-d.

    Attributes:
        first: Mean loss of the anchors in the first view.
        second: Mean loss of those in the second view.
        selected: Share of the pixels that are anchors of either.
    """

    first: Tensor
    second: Tensor
    selected: Tensor


class _PixelContrast(Function):
    """-ln(e^p / (e^p + sum_j e^q_j)) of each anchor, over the rows of another label than its own."""

    @staticmethod
    def forward(
        ctx: Any,
        anchor_ND: Tensor,
        target_ND: Tensor,
        label_N: Tensor,
        bank_RD: Tensor,
        bank_label_R: Tensor,
        temperature: float,
        chunk: int,
        eps: float,
    ) -> Tensor:
        scaled_ND = anchor_ND / temperature
        positive_N = (scaled_ND * target_ND).sum(1)
        label_N1 = label_N[:, None]
        top_N = positive_N
        if eps and len(bank_RD):
            top_N = torch.maximum(top_N, (scaled_ND @ bank_RD[:_RELEASED_CHUNK].T).amax(1))
        others_N = torch.zeros_like(positive_N)  # sum of e^(q - top)
        mean_ND = torch.zeros_like(anchor_ND)  # sum of the rows, each times that
        for start in range(0, len(bank_RD), chunk):
            rows_rD = bank_RD[start : start + chunk]
            labels_r = bank_label_R[start : start + chunk]
            logit_Nr = scaled_ND @ rows_rD.T
            same_Nr = labels_r == label_N1
            logit_Nr.masked_fill_(same_Nr | (labels_r == NO_LABEL), -torch.inf)
            if not eps:
                new_N = torch.maximum(top_N, logit_Nr.amax(1))
                shrink_N = (top_N - new_N).exp_()
                others_N.mul_(shrink_N)
                mean_ND.mul_(shrink_N[:, None])
                top_N = new_N
            logit_Nr.sub_(top_N[:, None]).exp_()
            others_N += logit_Nr.sum(1)
            mean_ND.addmm_(logit_Nr, rows_rD)
        own_N = (positive_N - top_N).exp()
        total_N = own_N + others_N + eps
        share_N = own_N / total_N
        loss_N = -(share_N + eps).log() if eps else total_N.log() + top_N - positive_N
        # d loss / d anchor, of p - ln(total) by the quotient's rule.
        gradient_ND = mean_ND.div_(total_N[:, None])
        gradient_ND.addcmul_((1 - share_N)[:, None], target_ND, value=-1)
        if eps:
            gradient_ND.mul_((share_N / (share_N + eps))[:, None])
        ctx.save_for_backward(gradient_ND.div_(temperature))
        return loss_N

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_loss_N: Tensor) -> tuple[Tensor | None, ...]:
        (gradient_ND,) = ctx.saved_tensors
        return gradient_ND * of_loss_N[:, None], *(None,) * 7


def directional_contrastive_loss(
    first: Pixels,
    second: Pixels,
    bank_RD: Tensor,
    bank_label_R: Tensor,
    *,
    temperature: float = 0.1,
    threshold: float = 0.75,
    eps: float = 0.0,
    chunk: int = 1024,
) -> DirectionalLosses:
    """The less confident feature of a pixel is pulled to the other one, and away from other classes.

    Pixel i is an anchor of the first direction if the second view is the surer one there, and surer
    than the threshold (both strictly): its feature in the first view is pulled to that in the second
    one, a constant, and pushed from the rows of the bank whose label is not the anchor's own,
    l_i = -ln(e^p / (e^p + sum_j e^q_j)), p and q_j the products of the features divided by
    ``temperature``. The second direction is the same with the views swapped.

    Args:
        first: N pixels in the first view; computed in float32 at least.
        second: The same pixels in the second view.
        bank_RD: Unit vectors of other pixels; no gradient flows into them.
        bank_label_R: Their pseudo-labels; rows with :data:`NO_LABEL` count for no anchor.
        temperature: tau.
        threshold: gamma, the confidence above which a feature is a target.
        eps: 0, or 1e-8 for the value of the released code.
        chunk: Rows of the bank at a time; it changes time and memory, not the value.

    Returns:
        The mean of l_i over the anchors of each direction; 0 with a graph where there is none.
    """
    with torch.autocast(bank_RD.device.type, enabled=False):
        one_ND, two_ND = full_precision(first.features_ND), full_precision(second.features_ND)
        one_is_anchor_N = first.confidence_N < second.confidence_N
        one_N1 = one_is_anchor_N[:, None]
        loss_N = _PixelContrast.apply(
            torch.where(one_N1, one_ND, two_ND),
            torch.where(one_N1, two_ND, one_ND).detach(),
            torch.where(one_is_anchor_N, first.label_N, second.label_N),
            bank_RD.detach().to(one_ND),
            bank_label_R,
            temperature,
            chunk,
            eps,
        )
        one_M = (one_is_anchor_N & (second.confidence_N > threshold)).to(loss_N)
        two_is_anchor_N = second.confidence_N < first.confidence_N
        two_M = (two_is_anchor_N & (first.confidence_N > threshold)).to(loss_N)
        return DirectionalLosses(
            (loss_N * one_M).sum() / one_M.sum().clamp(min=1),
            (loss_N * two_M).sum() / two_M.sum().clamp(min=1),
            (one_M + two_M).sum() / max(1, len(loss_N)),
        )


class DirectionalContrastiveLoss(nn.Module):
    """:func:`directional_contrastive_loss` with its settings.

    Args:
        temperature: tau.
        threshold: gamma.
        eps: 0, or 1e-8 for the value of the released code.
        chunk: Rows of the bank at a time.
    """

    def __init__(
        self,
        temperature: float = 0.1,
        threshold: float = 0.75,
        eps: float = 0.0,
        chunk: int = 1024,
    ) -> None:
        super().__init__()
        self.settings = dict(temperature=temperature, threshold=threshold, eps=eps, chunk=chunk)

    def forward(
        self, first: Pixels, second: Pixels, bank_RD: Tensor, bank_label_R: Tensor
    ) -> DirectionalLosses:
        """The losses of both directions."""
        return directional_contrastive_loss(first, second, bank_RD, bank_label_R, **self.settings)

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={value}" for name, value in self.settings.items())
