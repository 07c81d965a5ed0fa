# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""U2PL: labels where a teacher's entropy is low, negatives of many classes where it is high.

Wang, Wang, Shen, Fei, Li, Jin, Wu, Zhao, Le, *Semi-Supervised Semantic Segmentation Using Unreliable
Pseudo-Labels*, CVPR 2022, arXiv 2203.03884; checked against Haochen-Wang409/U2PL, train_semi.py and
u2pl/utils/loss_helper.py, commit ab3d2be, whose contrastive loss is another one than the paper's: see
docs/methods/u2pl.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .blocks import Outputs, Recipe, _resize, encode, mix, supervised_loss


class Ring:
    """The newest rows of one class."""

    def __init__(self, size: int) -> None:
        self.size, self.pushed, self._rows = size, 0, None

    def push(self, rows: Tensor) -> None:
        """Append rows; they replace the oldest ones."""
        if self._rows is None:
            self._rows = rows.new_zeros(self.size, rows.shape[1])
        places = torch.arange(self.pushed, self.pushed + len(rows)) % self.size
        self._rows[places[-self.size :]] = rows[-self.size :]
        self.pushed += len(rows)

    @property
    def rows(self) -> Tensor | list:
        """All that is held."""
        return [] if self._rows is None else self._rows[: min(self.pushed, self.size)]


class Draws(NamedTuple):
    """Numbers of [0, 1): (C, M) for anchors, (C, M, N) for their negatives, (P,) for keys."""

    anchors: Tensor
    negatives: Tensor
    keys: Tensor


def look(
    net: nn.Module, representation: nn.Module, labeled: Tensor, views: Tensor, together: bool
) -> tuple[list[Outputs], Tensor, Tensor]:
    """Outputs on labelled images and on views; their logits as the head gives them; features."""
    outputs, small, seen = [], [], []
    for images in [torch.cat([labeled, views])] if together else [labeled, views]:
        feats = encode(net, images)
        features = net.decode_head._forward_feature(feats)
        logits = net.decode_head.cls_seg(features)
        small.append(logits)
        seen.append(features)
        full = _resize(net.decode_head, logits, images.shape[-2:])
        sizes = [len(labeled), len(views)] if together else [len(images)]
        parts = zip(*(feat.split(sizes) for feat in feats))
        outputs += list(zip(parts, full.split(sizes)))
    return outputs, torch.cat(small), representation(torch.cat(seen))


def contrast(
    z: Tensor,
    teacher_z: Tensor,
    probabilities: Tensor,
    label: Tensor,
    is_low: Tensor,
    is_high: Tensor,
    num_labeled: int,
    bank: Sequence[Ring],
    draws: Draws,
    low_rank: int,
    high_rank: int,
    threshold: float,
    temperature: float,
    num_keys: int,
) -> Tensor:
    """The contrastive loss of the paper; rows are pixels, those of labelled images first.

    Args:
        z: The student's features (P, D).
        teacher_z: The teacher's.
        probabilities: The teacher's (P, C).
        label: True and pseudo-labels (P,).
        is_low: Pixels of low entropy, of labelled images all that have a label.
        is_high: Those of high entropy, likewise.
        num_labeled: How many rows are of labelled images.
        bank: A ring for each class.
        draws: Random numbers.
        low_rank: r_l.
        high_rank: r_h.
        threshold: delta_p.
        temperature: tau.
        num_keys: Rows that a class gets, at most.
    """
    num_classes = probabilities.shape[1]
    rank = probabilities.argsort(1, descending=True).argsort(1)
    labeled = torch.arange(len(z)) < num_labeled
    total, num_valid = 0 * z.sum(), 0
    for c in range(num_classes):
        of_labeled = labeled & (label != c) & (rank[:, c] < low_rank)
        of_unlabeled = ~labeled & (rank[:, c] >= low_rank) & (rank[:, c] < high_rank)
        keys = ((of_labeled | of_unlabeled) & is_high).nonzero().flatten()
        bank[c].push(teacher_z[keys[draws.keys[keys].argsort(descending=True)][:num_keys]])
        members = (label == c) & is_low
        if not members.any():
            continue
        num_valid += 1
        anchors = (members & (probabilities[:, c] > threshold)).nonzero().flatten()
        if len(anchors) == 0 or len(bank[c].rows) == 0:
            continue
        chosen = z[anchors[(draws.anchors[c] * len(anchors)).long()]]
        rows = bank[c].rows[(draws.negatives[c] * len(bank[c].rows)).long()]
        center = teacher_z[members].mean(0).expand(len(chosen), 1, -1)
        cosines = F.cosine_similarity(chosen[:, None], torch.cat([center, rows.to(z)], 1), dim=2)
        first = torch.zeros(len(chosen), dtype=torch.long)
        total = total + F.cross_entropy(cosines / temperature, first)
    return total / num_valid if num_valid > 1 else 0 * z.sum()


def u2pl_step(
    student: nn.Module,
    representation: nn.Module,
    teacher: nn.Module,
    teacher_representation: nn.Module,
    labeled: Tensor,
    labels: Tensor,
    weak: Tensor,
    strong: Tensor,
    recipe: Recipe | None,
    valid: Tensor,
    draws: Draws,
    bank: Sequence[Ring],
    percent: float,
    *,
    unsup_weight: float = 1.0,
    contrast_weight: float = 0.1,
    threshold: float = 0.3,
    low_rank: int = 3,
    high_rank: int = 20,
    temperature: float = 0.5,
    num_keys: int = 256,
    labeled_forward: str = "strong",
    ignore_padding: bool = True,
) -> dict[str, Tensor]:
    """One iteration behind the first ones; afterwards the teacher is averaged, its buffers are its own.

    Args:
        student: In train mode.
        representation: Its representation head.
        teacher: In the mode of its second pass; the first one is in eval mode.
        teacher_representation: Its representation head.
        labeled: Labelled images.
        labels: Their labels, 255 where there is none.
        weak: Unlabelled images.
        strong: The student's views of them, not mixed yet.
        recipe: How they are mixed; None: not at all.
        valid: Where ``weak`` is no padding.
        draws: Random numbers of the contrastive loss.
        bank: A ring for each class, which this step writes into first.
        percent: alpha, of the pixels that are unreliable.
        unsup_weight: Weight of the loss of reliable pixels.
        contrast_weight: lambda_c.
        threshold: delta_p.
        low_rank: r_l.
        high_rank: r_h.
        temperature: tau.
        num_keys: Rows that the bank of a class gets, at most.
        labeled_forward: Whether labelled images share the forward of the views, 'strong', or are 'alone'.
        ignore_padding: Padding has no label.
    """
    mode = teacher.training
    with torch.no_grad():
        teacher.eval()
        label = _resize(
            teacher.decode_head, teacher.decode_head(encode(teacher, weak)), weak.shape[-2:]
        )
        label = label.max(1).indices
        teacher.train(mode)
    if ignore_padding:
        label = torch.where(valid, label, 255)
    views, label = mix(recipe, strong), mix(recipe, label)

    together = labeled_forward == "strong"
    (on_labeled, (_, logits)), _, z = look(student, representation, labeled, views, together)
    with torch.no_grad():
        outputs, small, teacher_z = look(teacher, teacher_representation, labeled, views, together)
        # Released: log(p + 1e-10), which is the same to 1e-9 but in the last bit, and one bit decides about
        # the pixel at a percentile.
        log_p = outputs[1][1].log_softmax(1)
        entropy = -(log_p.exp() * log_p).sum(1)
    counted = entropy[label != 255].numpy()
    low, high = np.percentile(counted, [percent, 100 - percent]) if counted.size else (0, 0)
    target = torch.where(torch.from_numpy(np.asarray(entropy < high)), label, 255)
    n = (target != 255).sum()
    pixels = F.cross_entropy(logits, target, ignore_index=255, reduction="sum")
    loss = target.numel() / n.clamp(min=1) ** 2 * pixels

    def rows(maps: Tensor) -> Tensor:
        return maps.permute(0, 2, 3, 1).flatten(0, 2)

    def small_mask(maps: Tensor) -> Tensor:
        return F.interpolate(maps[:, None].double(), z.shape[-2:], mode="nearest").flatten()

    everywhere = torch.cat([labels, label])
    sure = labels != 255
    compared = contrast(
        rows(z),
        rows(teacher_z),
        rows(small.softmax(1)),
        small_mask(everywhere).long(),
        small_mask(torch.cat([sure, (entropy <= low) & (label != 255)])) > 0,
        small_mask(torch.cat([sure, (entropy >= high) & (label != 255)])) > 0,
        len(labeled) * z.shape[-2] * z.shape[-1],
        bank,
        draws,
        min(low_rank, small.shape[1] - 1),
        min(high_rank, small.shape[1]),
        threshold,
        temperature,
        num_keys,
    )
    return {
        "sup": supervised_loss(student, *on_labeled, labels),
        "unsup.loss_ce": unsup_weight * loss,
        "unsup.loss_contrast": contrast_weight * compared,
    }
