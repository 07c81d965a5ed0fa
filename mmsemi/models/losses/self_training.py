# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""How much a stored pseudo-label counts: pure functions first, the registered modules around them.

DST-CBC: Feng et al., *Semi-Supervised Semantic Segmentation via Dynamic Self-Training and
Class-Balanced Curriculum*, https://arxiv.org/abs/2004.08514v1. DMT: Feng et al., *DMT: Dynamic Mutual
Training for Semi-Supervised Learning*, Pattern Recognition 130 (2022), https://arxiv.org/abs/2004.08514.
Equations and known answers: docs/methods/dst_cbc.md and docs/methods/dmt.md.

A weight scales the cross-entropy of its pixel and leaves the divisor, the number of valid pixels, as it
is: low weights make a small loss. Weights carry no gradient and are float32, under autocast too.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from mmseg.registry import MODELS
from torch import BoolTensor, LongTensor, Tensor, nn

from ...errors import ConfigError


class WeightedLabels(NamedTuple):
    """Pseudo-labels as the loss uses them.

    Attributes:
        label_NHW: Class or the ignored value; another one than the stored label in the flip variant.
        weight_NHW: float32 in [0, 1]; 0 where the label is ignored.
        disagrees_NHW: Where the likeliest class of the network is not the stored label; None if the
            weight does not ask.
        wins_NHW: Where it disagrees and is surer than the stored confidence.
    """

    label_NHW: LongTensor
    weight_NHW: Tensor
    disagrees_NHW: BoolTensor | None = None
    wins_NHW: BoolTensor | None = None


def _label_log_prob(logits_NCHW: Tensor, label_NHW: Tensor, valid_NHW: Tensor) -> Tensor:
    """log p of each pixel's label, float32; of class 0 where the label is ignored."""
    index_N1HW = torch.where(valid_NHW, label_NHW, 0).long()[:, None]
    return logits_NCHW.log_softmax(1).gather(1, index_N1HW)[:, 0]


def dynamic_weight(
    logits_NCHW: Tensor, label_NHW: Tensor, gamma: float, ignore_index: int = 255
) -> WeightedLabels:
    """DST-CBC: the probability that the network in training gives to the stored label, to the power gamma.

    Args:
        logits_NCHW: Of the network in training, any float type.
        label_NHW: Stored labels, class indices or ``ignore_index``.
        gamma: At least 0; 0 gives every label the weight 1.
        ignore_index: Label of pixels that do not count.
    """
    logits_NCHW, valid_NHW = logits_NCHW.detach().float(), label_NHW != ignore_index
    weight_NHW = (gamma * _label_log_prob(logits_NCHW, label_NHW, valid_NHW)).exp()
    return WeightedLabels(label_NHW, weight_NHW * valid_NHW)


def stored_weight(
    label_NHW: Tensor, confidence_NHW: Tensor, gamma: float, ignore_index: int = 255
) -> WeightedLabels:
    """The offline form: the stored confidence of the network that labelled, to the power gamma.

    Args:
        label_NHW: Stored labels, class indices or ``ignore_index``.
        confidence_NHW: Stored with them, in [0, 1].
        gamma: At least 0.
        ignore_index: Label of pixels that do not count.
    """
    # Outside the labels a confidence may be anything, padding for example.
    weight_NHW = confidence_NHW.float().clamp(0, 1) ** gamma
    return WeightedLabels(label_NHW, weight_NHW * (label_NHW != ignore_index))


def mutual_weight(
    logits_NCHW: Tensor,
    label_NHW: Tensor,
    confidence_NHW: Tensor,
    gamma1: float,
    gamma2: float,
    drop_won: bool = True,
    flip_won: bool = False,
    ignore_index: int = 255,
) -> WeightedLabels:
    """DMT: what a network does with the labels of another one.

    With a the likeliest class of the network in training, m its probability, y the stored label and s
    its confidence: p_y^gamma1 where a = y; else p_y^gamma2 where m <= s; else the network wins, and the
    pixel has the weight 0. gamma1 = gamma2 = 0 switches all of it off: every weight is 1.

    Args:
        logits_NCHW: Of the network in training, any float type.
        label_NHW: Stored labels, class indices or ``ignore_index``.
        confidence_NHW: Stored with them, in [0, 1].
        gamma1: Power where both agree, at least 0.
        gamma2: Power where they do not, at least 0.
        drop_won: False: won pixels have the weight p_y^gamma2, too (the naive form).
        flip_won: Won pixels get the label a and the weight (1 - s)^gamma2.
        ignore_index: Label of pixels that do not count.
    """
    logits_NCHW, valid_NHW = logits_NCHW.detach().float(), label_NHW != ignore_index
    log_p_NHW = _label_log_prob(logits_NCHW, label_NHW, valid_NHW)
    top_NHW, class_NHW = logits_NCHW.max(1)
    confidence_NHW = confidence_NHW.float().clamp(0, 1)
    disagrees_NHW = valid_NHW & (class_NHW != label_NHW)
    surer_NHW = (top_NHW - logits_NCHW.logsumexp(1)).exp() > confidence_NHW
    wins_NHW = disagrees_NHW & surer_NHW
    weight_NHW = (torch.where(disagrees_NHW, gamma2, gamma1) * log_p_NHW).exp() * valid_NHW
    if gamma1 or gamma2:
        if flip_won:
            label_NHW = torch.where(wins_NHW, class_NHW, label_NHW)
            weight_NHW = torch.where(wins_NHW, (1 - confidence_NHW) ** gamma2, weight_NHW)
        elif drop_won:
            weight_NHW = weight_NHW * ~wins_NHW
    return WeightedLabels(label_NHW, weight_NHW, disagrees_NHW, wins_NHW)


def _check_power(name: str, value: float) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1e3:
        raise ConfigError(f"{name}={value!r} must be a number of at least 0")
    return value


@MODELS.register_module()
class DynamicWeight(nn.Module):
    """See :func:`dynamic_weight`.

    Args:
        gamma: Power.

    Raises:
        ConfigError: It is no number of at least 0.
    """

    needs_confidence = False

    def __init__(self, gamma: float) -> None:
        super().__init__()
        self.gamma = _check_power("DynamicWeight.gamma", gamma)

    def forward(
        self, logits: Tensor, label: Tensor, confidence: Tensor | None, ignore_index: int
    ) -> WeightedLabels:
        """Weigh the stored labels; the confidence is not used."""
        return dynamic_weight(logits, label, self.gamma, ignore_index)


@MODELS.register_module()
class StoredWeight(nn.Module):
    """See :func:`stored_weight`.

    Args:
        gamma: Power.

    Raises:
        ConfigError: It is no number of at least 0.
    """

    needs_confidence = True

    def __init__(self, gamma: float) -> None:
        super().__init__()
        self.gamma = _check_power("StoredWeight.gamma", gamma)

    def forward(
        self, logits: Tensor, label: Tensor, confidence: Tensor, ignore_index: int
    ) -> WeightedLabels:
        """Weigh the stored labels; the logits are not used."""
        return stored_weight(label, confidence, self.gamma, ignore_index)


@MODELS.register_module()
class MutualWeight(nn.Module):
    """See :func:`mutual_weight`.

    Args:
        gamma1: Power where network and label agree.
        gamma2: Power where they do not.
        drop_won: Whether pixels that the network wins count nothing.
        flip_won: Whether they get the network's own label.

    Raises:
        ConfigError: A power is no number of at least 0, or won pixels shall be kept and flipped.
    """

    needs_confidence = True

    def __init__(
        self, gamma1: float, gamma2: float, drop_won: bool = True, flip_won: bool = False
    ) -> None:
        super().__init__()
        self.gamma1 = _check_power("MutualWeight.gamma1", gamma1)
        self.gamma2 = _check_power("MutualWeight.gamma2", gamma2)
        self.drop_won, self.flip_won = drop_won, flip_won
        if flip_won and not drop_won:
            raise ConfigError(
                "MutualWeight has drop_won=False, which keeps the labels of won pixels, and "
                "flip_won=True, which changes them: leave out one"
            )
        if flip_won and not (gamma1 or gamma2):
            raise ConfigError(
                "MutualWeight.flip_won=True does nothing with gamma1=gamma2=0: set a power, or leave it out"
            )

    def forward(
        self, logits: Tensor, label: Tensor, confidence: Tensor, ignore_index: int
    ) -> WeightedLabels:
        """Weigh the stored labels."""
        return mutual_weight(
            logits,
            label,
            confidence,
            self.gamma1,
            self.gamma2,
            self.drop_won,
            self.flip_won,
            ignore_index,
        )
