# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""U2PL: which pixels a teacher is sure of, and what unsure ones are sure not to be.

Wang, Wang, Shen, Fei, Li, Jin, Wu, Zhao, Le, *Semi-Supervised Semantic Segmentation Using Unreliable
Pseudo-Labels*, CVPR 2022, https://arxiv.org/abs/2203.03884. Equations and known answers:
docs/methods/u2pl.md.

Shape suffixes: N images, C classes, H rows, W columns; h, w of a grid of features; P its pixels, of
all images; M anchors of a class, K negatives of an anchor, D channels.

Decisions:

* Nothing here reads a value back to the host and every shape is known beforehand: sets of pixels are
  masks, and a draw from one is a position among its members.
* Entropies, percentiles and similarities are float32 at least, under autocast too.
* Random numbers are given, so that a function's value is one of its arguments alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import BoolTensor, LongTensor, Tensor

from .adversarial import full_precision
from .cross_entropy import cross_entropy


def unreliable_percent(start: float, iteration: int, total: int, every: int = 1) -> float:
    """Percent of the pixels that are unreliable: it falls linearly from ``start`` to 0.

    Args:
        start: Percent at the beginning.
        iteration: From 0.
        total: Iterations until it is 0.
        every: Iterations through which it stays; published: one pass over the unlabelled images.
    """
    return start * max(0.0, 1 - iteration // every * every / total)


def entropy_map(logits_NCHW: Tensor) -> Tensor:
    """Entropy of the softmax of each pixel (N, H, W) in nats, without gradient."""
    log_NCHW = full_precision(logits_NCHW.detach()).log_softmax(1)
    return -(log_NCHW.exp() * log_NCHW).sum(1)


def masked_percentiles(values: Tensor, valid: BoolTensor, percents: Sequence[float]) -> Tensor:
    """Percentiles of those values that are valid, with linear interpolation as numpy's.

    Args:
        values: Any shape, finite.
        valid: Of the same shape.
        percents: In [0, 100].

    Returns:
        One value for each of them; without a valid value infinity.
    """
    in_order = torch.where(valid, values, torch.inf).flatten().sort().values
    last = (valid.sum() - 1).clamp(min=0)
    position = torch.tensor(percents, dtype=torch.float64).to(values.device, non_blocking=True)
    position = position / 100 * last
    below = position.long()
    above = torch.minimum(below + 1, last)
    low, high = in_order[below], in_order[above]
    # Where both are one, the difference of infinities is none.
    return torch.where(below == above, low, low + (position - below).to(low) * (high - low))


def reliable_cross_entropy(
    logits_NCHW: Tensor, label_NHW: LongTensor, kept_NHW: BoolTensor
) -> Tensor:
    """Mean cross-entropy over the pixels that are kept, times the inverse of their share.

    With n of N pixels kept it is N / n^2 times the sum: the fewer there are, the more each one counts.

    Args:
        logits_NCHW: Of the student.
        label_NHW: Pseudo-labels; those of pixels that are not kept do not matter.
        kept_NHW: Reliable pixels.

    Returns:
        0-d; 0 with a graph where none is kept.
    """
    label_NHW = torch.where(kept_NHW, label_NHW, 0)
    share = kept_NHW.sum() / kept_NHW.numel()
    loss = cross_entropy(logits_NCHW, label_NHW, -1, kept_NHW, over_all=True)
    return loss / share.clamp(min=1 / kept_NHW.numel()).square()


class ClassPixels(NamedTuple):
    """Which pixels are what to each class.

    Attributes:
        members_CP: Surely of the class; their mean is its centre.
        anchors_CP: Those members of which the teacher says so, too.
        keys_CP: Surely of another class, while the teacher finds the class likely enough to be a
            hard negative.
    """

    members_CP: BoolTensor
    anchors_CP: BoolTensor
    keys_CP: BoolTensor


def class_pixels(
    probability_NChw: Tensor,
    label_Nhw: LongTensor,
    low_Nhw: BoolTensor,
    high_Nhw: BoolTensor,
    num_labeled: int,
    *,
    low_rank: int = 3,
    high_rank: int = 20,
    threshold: float = 0.3,
    released: bool = False,
) -> ClassPixels:
    """Members, anchors and negative keys of each class, section 3.3 of the paper.

    A pixel of low entropy is a member of its class, and an anchor if the teacher gives the class more
    than the threshold. With the classes of a pixel ranked by their probability, from 0, an unlabelled
    pixel of high entropy is a negative of those with ``low_rank`` <= rank < ``high_rank``: it may be one
    of the first, and the last are too easy. A labelled pixel is a negative of those of the first
    ``low_rank`` classes that are not its own.

    Args:
        probability_NChw: The teacher's; labelled images first.
        label_Nhw: True and pseudo-labels; a value that is no class is of none.
        low_Nhw: Pixels of low entropy; of a labelled image all.
        high_Nhw: Pixels of high entropy; of a labelled image all.
        num_labeled: How many of the images are labelled.
        low_rank: r_l.
        high_rank: r_h.
        threshold: delta_p.
        released: As in the released code: the first image of each half of the batch has the labels of
            all of them, the others have none; and a negative of a class must have its label, so that
            labelled pixels never are.
    """
    num_classes = probability_NChw.shape[1]
    classes_C = torch.arange(num_classes, device=label_Nhw.device)
    is_class_NChw = label_Nhw[:, None] == classes_C.view(1, -1, 1, 1)
    if released:
        halves = is_class_NChw.split([num_labeled, len(label_Nhw) - num_labeled])
        is_class_NChw = torch.cat([_all_on_the_first(half) for half in halves])
    rank_NChw = probability_NChw.argsort(dim=1, descending=True, stable=True).argsort(dim=1)
    members_NChw = is_class_NChw & low_Nhw[:, None]
    anchors_NChw = members_NChw & (probability_NChw > threshold)
    ranks = rank_NChw[:num_labeled], rank_NChw[num_labeled:]
    is_candidate_NChw = torch.cat(
        [
            (ranks[0] < low_rank) & ~is_class_NChw[:num_labeled],
            (low_rank <= ranks[1]) & (ranks[1] < high_rank),
        ]
    )
    keys_NChw = is_candidate_NChw & high_Nhw[:, None]
    if released:
        keys_NChw = keys_NChw & is_class_NChw
    maps = members_NChw, anchors_NChw, keys_NChw
    return ClassPixels(*(one.transpose(0, 1).flatten(1) for one in maps))


def _all_on_the_first(is_class_NChw: BoolTensor) -> BoolTensor:
    """The first image with the labels of all, where it has one itself; the others without any."""
    first = is_class_NChw.any(0, keepdim=True) & is_class_NChw[:1].any(1, keepdim=True)
    return torch.cat([first, torch.zeros_like(is_class_NChw)])[: len(is_class_NChw)]


def draw_members(mask_CP: BoolTensor, uniform_CM: Tensor) -> LongTensor:
    """Positions of members of sets, all equally likely, with replacement.

    Args:
        mask_CP: C sets of pixels.
        uniform_CM: M numbers of [0, 1) for each.

    Returns:
        (C, M) in [0, P); of an empty set some pixel or other.
    """
    upto_CP = mask_CP.cumsum(1)
    count_C1 = upto_CP[:, -1:]
    number_CM = position_of(uniform_CM, count_C1) + 1
    return torch.searchsorted(upto_CP, number_CM).clamp(max=mask_CP.shape[1] - 1)


def draw_some(mask_CP: BoolTensor, uniform_P: Tensor, most: int) -> tuple[LongTensor, BoolTensor]:
    """At most ``most`` members of sets, all equally likely, without replacement.

    Args:
        mask_CP: C sets of pixels.
        uniform_P: A number of [0, 1) for each pixel; those with the largest are taken.
        most: K.

    Returns:
        Positions (C, K) and which of them are members.
    """
    pixels = mask_CP.shape[1]
    score_CP = torch.where(mask_CP, uniform_P, -1.0)
    score_CP = F.pad(score_CP, (0, max(0, most - pixels)), value=-1.0)
    score_CK, index_CK = score_CP.topk(most, dim=1)
    return index_CK.clamp(max=pixels - 1), score_CK >= 0


def position_of(uniform: Tensor, count: Tensor) -> LongTensor:
    """floor(u n), at most n - 1 and at least 0, of numbers u in [0, 1) and counts n."""
    # float32 rounds u n up to n where n is large.
    return torch.minimum((uniform * count).long(), count - 1).clamp(min=0)


def class_centers(features_PD: Tensor, members_CP: BoolTensor) -> Tensor:
    """Mean feature (C, D) of the members of each class; 0 where there is none."""
    members_CP = members_CP.to(features_PD)
    return members_CP @ features_PD / members_CP.sum(1, keepdim=True).clamp(min=1)


def info_nce(
    anchor_MD: Tensor, positive_MD: Tensor, negative_MKD: Tensor, temperature: float = 0.5
) -> Tensor:
    """-ln(e^p / (e^p + sum_k e^n_k)) of each anchor, p and n_k cosines over ``temperature``.

    Args:
        anchor_MD: Features, with gradient; any number of dimensions in front of D.
        positive_MD: What each is pulled to; it broadcasts.
        negative_MKD: What each is pushed from.
        temperature: tau.

    Returns:
        (M,) float32 at least.
    """
    anchor_MD = full_precision(anchor_MD)
    unit_MD, positive_MD, negative_MKD = (
        F.normalize(x.to(anchor_MD), dim=-1) for x in (anchor_MD, positive_MD, negative_MKD)
    )
    positive_M = (unit_MD * positive_MD).sum(-1)
    negative_MK = (negative_MKD @ unit_MD[..., None])[..., 0]
    logit_MX = torch.cat([positive_M[..., None], negative_MK], -1) / temperature
    return logit_MX.logsumexp(-1) - logit_MX[..., 0]


def mean_of_classes(loss_C: Tensor, counts_C: BoolTensor, is_valid_C: BoolTensor) -> Tensor:
    """Sum of the losses that count over the number of valid classes, 0-d.

    Args:
        loss_C: Loss of each class; any finite value where it does not count.
        counts_C: Whether a class has anchors and negatives.
        is_valid_C: Whether it has members.

    Returns:
        0 with a graph where at most one class is valid.
    """
    number = is_valid_C.sum()
    total = torch.where(counts_C & (number > 1), loss_C, 0).sum()
    return total / number.clamp(min=1)
