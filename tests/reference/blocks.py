# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""What the reference steps are made of: forwards, losses, labels, mixing, averaging.

Shape suffixes: N images, B mixed images, C classes, H rows, W columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Maps = Sequence[Tensor]
Outputs = tuple[Maps, Tensor]

# ---------------------------------------------------------------------------------------- networks


def encode(net: nn.Module, x_N3HW: Tensor) -> Maps:
    """The feature maps that the heads are given."""
    feats = net.backbone(x_N3HW)
    return feats if getattr(net, "neck", None) is None else net.neck(feats)


def decode(net: nn.Module, feats: Maps, size_hw: Sequence[int]) -> Tensor:
    """Logits (N, C, H, W) of images of that size."""
    return _resize(net.decode_head, net.decode_head(feats), size_hw)


def _resize(head: nn.Module, logits: Tensor, size_hw: Sequence[int]) -> Tensor:
    return F.interpolate(logits, size_hw, mode="bilinear", align_corners=head.align_corners)


def forward(net: nn.Module, x_N3HW: Tensor) -> Outputs:
    """Feature maps, and logits of the input's size."""
    feats = encode(net, x_N3HW)
    return feats, decode(net, feats, x_N3HW.shape[-2:])


def forward_together(net: nn.Module, *streams: Tensor) -> list[Outputs]:
    """The outputs of each stream from one forward of all, which then share batch statistics."""
    sizes = [len(stream) for stream in streams]
    feats, logits = forward(net, torch.cat(streams))
    return list(zip(zip(*(feat.split(sizes) for feat in feats)), logits.split(sizes)))


@torch.no_grad()
def predict(net: nn.Module, x_N3HW: Tensor) -> Tensor:
    """Logits without gradient, in the mode that the network is in."""
    return forward(net, x_N3HW)[1]


@torch.no_grad()
def average(teacher: nn.Module, student: nn.Module, momentum: float, buffers: str) -> None:
    """Move each weight of the teacher by ``momentum`` towards the student's.

    Args:
        teacher: It is changed.
        student: Where to.
        momentum: Weight of the new value, 1 - decay.
        buffers: Batch-norm statistics: 'keep' the teacher's own, 'copy' the student's, or 'ema'
            (integers are copied).
    """
    for old, new in zip(teacher.parameters(), student.parameters()):
        old.lerp_(new, momentum)
    if buffers == "keep":
        return
    for old, new in zip(teacher.buffers(), student.buffers()):
        is_averaged = buffers == "ema" and old.is_floating_point()
        old.copy_(torch.lerp(old, new, momentum) if is_averaged else new)


# ------------------------------------------------------------------------------- losses and labels


def cross_entropy(logits_NCHW: Tensor, labels_NHW: Tensor, ignore_index: int) -> Tensor:
    """Mean over the pixels that are not ignored, of all images together; 0 without one."""
    pixels = F.cross_entropy(logits_NCHW, labels_NHW, ignore_index=ignore_index, reduction="sum")
    return pixels / (labels_NHW != ignore_index).sum().clamp(min=1)


def supervised_loss(net: nn.Module, feats: Maps, logits_NCHW: Tensor, labels_NHW: Tensor) -> Tensor:
    """The sum of the losses of the decode head and of the auxiliary heads on labelled images."""
    loss = _head_loss(net.decode_head, logits_NCHW, labels_NHW)
    auxiliary = getattr(net, "auxiliary_head", None)
    for head in auxiliary if isinstance(auxiliary, nn.ModuleList) else [auxiliary]:
        if head is not None:
            logits = _resize(head, head(feats), labels_NHW.shape[-2:])
            loss = loss + _head_loss(head, logits, labels_NHW)
    return loss


def _head_loss(head: nn.Module, logits_NCHW: Tensor, labels_NHW: Tensor) -> Tensor:
    criteria, loss = head.loss_decode, 0
    for criterion in criteria if isinstance(criteria, nn.ModuleList) else [criteria]:
        if type(criterion).__name__ == "PixelCrossEntropy":
            value = cross_entropy(logits_NCHW, labels_NHW, head.ignore_index)
            loss = loss + criterion.loss_weight * value
        else:  # hard pixels, say: its own tests compare it with the paper
            loss = loss + criterion(logits_NCHW, labels_NHW, ignore_index=head.ignore_index)
    return loss


def hard_labels(logits_NCHW: Tensor) -> Tensor:
    """The likeliest class (N, H, W): argmax, for which torch takes longer on the CPU."""
    return logits_NCHW.detach().max(1).indices


def pseudo_labels(logits_NCHW: Tensor) -> tuple[Tensor, Tensor]:
    """Probability (N, H, W) of the likeliest class, and the class; without gradient."""
    probability, label = logits_NCHW.detach().softmax(1).max(1)
    return probability, label


# ------------------------------------------------------------------------------------------ mixing


class Recipe(NamedTuple):
    """How B mixed images are made: a base image each, on which layers are pasted.

    Attributes:
        first: (B,) int64, the base images; 0..B-1 in all mixes of unlabelled images.
        pastes: Layers, later ones on top: a mask (B, 1, H, W) bool, True where the layer covers,
            and (B,) int64, the images whose pixels it shows there. CutMix is one layer.
    """

    first: Tensor
    pastes: list[tuple[Tensor, Tensor]]


def mix(recipe: Recipe | None, x: Tensor, pasted: Tensor | None = None) -> Tensor:
    """Mix images, logits (N, C, H, W), labels, confidences or valid pixels (N, H, W).

    Args:
        recipe: None leaves ``x`` as it is.
        x: What the base images show.
        pasted: What the pasted images show, if not the same.
    """
    if recipe is None:
        return x
    mixed = x[recipe.first]
    for mask_B1HW, images_B in recipe.pastes:
        mask = mask_B1HW if x.ndim == 4 else mask_B1HW[:, 0]
        mixed = torch.where(mask, (x if pasted is None else pasted)[images_B], mixed)
    return mixed


def split_streams(recipe: Recipe | None, x: Tensor) -> tuple[Tensor, ...]:
    """Unlabelled images as the streams that the loader gives them in: u0 and u1, or one."""
    return x.split(len(x) if recipe is None else len(recipe.first))
