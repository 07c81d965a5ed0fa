# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Cross pseudo supervision, plain and with CutMix.

Chen, Yuan, Zeng, Wang, *Semi-Supervised Semantic Segmentation with Cross Pseudo Supervision*, CVPR
2021, arXiv 2106.01226, sections 3.1 (plain) and 3.2 (CutMix): two networks see the same images, and
each takes the other's hard prediction as labels. Checked against charlesCXK/TorchSemiSeg,
exp.voc/voc8.res50v3+.CPS/train.py and exp.voc/voc8.res50v3+.CPS+CutMix/train.py, commit 5e0c29c.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .blocks import (
    Outputs,
    Recipe,
    cross_entropy,
    forward,
    forward_together,
    hard_labels,
    mix,
    split_streams,
    supervised_loss,
)


def cps_step(
    networks: Sequence[nn.Module],
    labeled: Tensor,
    labels: Tensor,
    weak: Tensor,
    strong: Tensor,
    recipe: Recipe | None,
    valid: Tensor,
    *,
    unsup_weight: float = 1.5,
    joint_forward: bool = False,
    ignore_padding: bool = False,
) -> dict[str, Tensor]:
    """One iteration; with a recipe the CutMix form.

    Args:
        networks: Two, in train mode, also where no gradient is needed.
        labeled: Labelled images.
        labels: Their labels.
        weak: Unlabelled images, u0 and u1 for CutMix; the plain form needs none.
        strong: The same as the networks are trained on them; as released, ``weak`` itself.
        recipe: How they are mixed.
        valid: Where ``weak`` is no padding.
        unsup_weight: lambda, the weight of the cross pseudo loss.
        joint_forward: Whether a network's image streams share a forward, other than as released.
        ignore_padding: Whether padding, and void pixels of labelled images, do not count.
    """

    def run(net: nn.Module, *streams: Tensor) -> list[Outputs]:
        if joint_forward:
            return forward_together(net, *streams)
        return [forward(net, stream) for stream in streams]

    ignore_index = networks[0].decode_head.ignore_index
    losses, logits, targets = {}, [], []
    if recipe is None:
        counted = torch.cat([labels != ignore_index, valid])
        for number, net in enumerate(networks):
            on_labeled, on_unlabeled = run(net, labeled, strong)
            logits.append(torch.cat([on_labeled[1], on_unlabeled[1]]))
            targets.append(hard_labels(logits[-1]))
            losses[f"sup.{number}"] = supervised_loss(net, *on_labeled, labels)
    else:
        counted, mixed = mix(recipe, valid), mix(recipe, strong)
        with torch.no_grad():
            for net in networks:  # mixed labels are the labels of mixed logits
                streams = run(net, *split_streams(recipe, weak))
                targets.append(mix(recipe, torch.cat([hard_labels(z) for _, z in streams])))
        for number, net in enumerate(networks):
            on_mixed, on_labeled = run(net, mixed, labeled)
            logits.append(on_mixed[1])
            losses[f"sup.{number}"] = supervised_loss(net, *on_labeled, labels)

    if ignore_padding:
        targets = [torch.where(counted, target, ignore_index) for target in targets]
    cross = [cross_entropy(logits[i], targets[1 - i], ignore_index) for i in (0, 1)]
    losses["unsup.loss_cps"] = unsup_weight * (cross[0] + cross[1])
    return losses
