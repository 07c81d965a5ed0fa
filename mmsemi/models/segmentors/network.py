# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""What a method needs of an mmseg segmentor: its logits, and its supervised loss from one forward.

Stock segmentors compute the loss and the logits in different forwards. A method that needs both on
the same image (CPS on labelled crops) would run the network twice; these functions run it once.
They cover ``EncoderDecoder`` and ``CascadeEncoderDecoder`` with any head that gives per-pixel logits.

Where a head computes its loss as ``BaseDecodeHead`` does, the same values are computed here without
what that method costs: a second resize of the logits, a stack of the labels for every head, and an
accuracy that makes the host wait for the device. Other heads compute their own.

Shape suffixes: N batch, C classes, H W pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from mmseg.models.decode_heads.cascade_decode_head import BaseCascadeDecodeHead
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from mmseg.utils import add_prefix
from torch import Tensor, nn


class Outputs(NamedTuple):
    """One forward of a segmentation network.

    Attributes:
        feats: Features of backbone (and neck).
        heads: The raw output of each stage of the decode head (one, or one a cascade stage).
        logits_NCHW: Logits of the last stage, resized to the input.
    """

    feats: Any
    heads: list[Any]
    logits_NCHW: Tensor

    def split(self, sizes: list[int]) -> list[Outputs]:
        """The outputs of parts of the batch, as views."""
        parts = zip(*(split_nested(item, sizes) for item in self))
        return [Outputs(*part) for part in parts]


def split_nested(item: Any, sizes: list[int]) -> list[Any]:
    """Split tensors along the batch inside nested lists and tuples."""
    if isinstance(item, Tensor):
        return list(item.split(sizes))
    columns = zip(*(split_nested(entry, sizes) for entry in item))
    return [type(item)(column) for column in columns]


def map_nested(function: Callable[..., Tensor], *items: Any) -> Any:
    """Apply a function to the tensors of nested lists and tuples of one structure."""
    if isinstance(items[0], Tensor):
        return function(*items)
    return type(items[0])(map_nested(function, *entries) for entries in zip(*items))


def decode_stages(net: nn.Module) -> list[nn.Module]:
    """The decode head's stages: one, or those of a cascade."""
    head = net.decode_head
    return list(head) if isinstance(head, nn.ModuleList) else [head]


def check_per_pixel_logits(segmentor: dict) -> None:
    """Refuse a segmentor config whose head does not give one logit a class and pixel.

    It looks at the classes only, before anything is built: Mask2Former's head needs mmdet to build.

    Raises:
        TypeError: The decode head classifies masks or queries (Mask2Former, MaskFormer, SAN, ...).
    """
    heads = segmentor.get("decode_head")
    for head in heads if isinstance(heads, (list, tuple)) else [heads]:
        kind = head.get("type") if isinstance(head, dict) else None
        kind = MODELS.get(kind) if isinstance(kind, str) else kind
        if isinstance(kind, type) and not gives_per_pixel_logits(kind):
            raise TypeError(
                f"{kind.__name__} gives no per-pixel logits from features alone, which "
                "semi-supervised methods compare between views: choose a head such as FCNHead, "
                "PSPHead, DeepLabV3PlusHead, OCRHead, SegformerHead or UPerHead"
            )


def gives_per_pixel_logits(head: type) -> bool:
    """Whether a head maps features to logits, and logits to its loss, as mmseg's base does."""
    stock = (BaseDecodeHead.loss, BaseCascadeDecodeHead.loss)
    return issubclass(head, BaseDecodeHead) and head.loss in stock


def _logits(head: nn.Module, output: Any) -> Tensor:
    """The logits that the head predicts with, where it returns further maps in training."""
    if not isinstance(output, (tuple, list)):
        return output
    # EncHead, DAHead, DDRHead give them first, PIDHead second, K-Net's stages last.
    return output[{"PIDHead": 1, "IterativeDecodeHead": -1}.get(type(head).__name__, 0)]


def forward_network(net: nn.Module, x_N3HW: Tensor) -> Outputs:
    """Run a segmentor on normalised images, keeping what its supervised loss needs."""
    return decode(net, net.extract_feat(x_N3HW), x_N3HW.shape[-2:])


def decode(net: nn.Module, feats: Any, size_hw: Sequence[int]) -> Outputs:
    """Run the decode head on features of images of ``size_hw``."""
    stages = decode_stages(net)
    heads = [stages[0](feats)]
    for stage in stages[1:]:
        heads.append(stage(feats, heads[-1]))
    logits = F.interpolate(
        _logits(stages[-1], heads[-1]),
        tuple(size_hw),
        mode="bilinear",
        align_corners=net.align_corners,
    )
    return Outputs(feats, heads, logits)


@contextmanager
def eval_mode(net: nn.Module) -> Iterator[None]:
    """Running statistics, no dropout and no gradient for a while."""
    was_training = net.training
    net.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        net.train(was_training)


def confidence_and_labels(logits_NCHW: Tensor) -> tuple[Tensor, Tensor]:
    """Softmax probability (N, H, W, float32) of the likeliest class, and the class (int64).

    Without gradient, and without a softmax of all classes: the probability of the maximum z is
    exp(z - logsumexp).
    """
    logits_NCHW = logits_NCHW.detach().float()
    top_NHW, labels_NHW = logits_NCHW.max(1)
    return (top_NHW - logits_NCHW.logsumexp(1)).exp(), labels_NHW


def stack_masks(data_samples: list[SegDataSample]) -> Tensor:
    """The masks of samples as one (N, H, W) int64 tensor."""
    return torch.cat([sample.gt_sem_seg.data for sample in data_samples])


def hard_labels(logits_NCHW: Tensor) -> Tensor:
    """Class (N, H, W) int64 of the largest logit, the first one of equals; without gradient.

    The indices of ``max`` are those of ``argmax``, which takes five times as long on the CPU.
    """
    return logits_NCHW.detach().max(1).indices


def accuracy(logits_NCHW: Tensor, labels_NHW: Tensor, ignore_index: int) -> Tensor:
    """Correct pixels in percent of those not ignored, (1,); mmseg's value, kept on the device.

    Without a valid pixel it is 100, as in mmseg.
    """
    valid = labels_NHW != ignore_index
    correct = ((hard_labels(logits_NCHW) == labels_NHW) & valid).sum(dtype=torch.float32)
    eps = torch.finfo(torch.float32).eps
    return ((correct + eps) * (100.0 / (valid.sum(dtype=torch.float32) + eps)))[None]


def computes_stock_loss(head: nn.Module) -> bool:
    """Whether a decode head's loss is that of ``BaseDecodeHead``, unchanged and without sampler."""
    return (
        type(head).loss_by_feat is BaseDecodeHead.loss_by_feat
        and type(head)._stack_batch_gt is BaseDecodeHead._stack_batch_gt
        and head.sampler is None
    )


def head_losses(head: nn.Module, logits_NChw: Tensor, labels_NHW: Tensor) -> dict[str, Tensor]:
    """What ``BaseDecodeHead.loss_by_feat`` returns, resizing logits only if they need it."""
    if logits_NChw.shape[-2:] != labels_NHW.shape[-2:]:
        logits_NChw = F.interpolate(
            logits_NChw, labels_NHW.shape[-2:], mode="bilinear", align_corners=head.align_corners
        )
    losses: dict[str, Tensor] = {}
    modules = head.loss_decode
    for module in modules if isinstance(modules, nn.ModuleList) else [modules]:
        value = module(logits_NChw, labels_NHW, weight=None, ignore_index=head.ignore_index)
        known = losses.get(module.loss_name)
        losses[module.loss_name] = value if known is None else known + value
    losses["acc_seg"] = accuracy(logits_NChw.detach(), labels_NHW, head.ignore_index)
    return losses


def supervised_losses(
    net: nn.Module, outputs: Outputs, data_samples: list[SegDataSample]
) -> dict[str, Tensor]:
    """The network's own losses (decode stages and auxiliary heads), named as mmseg names them."""
    labels_NHW = stack_masks(data_samples)
    losses: dict[str, Tensor] = {}
    stages = decode_stages(net)
    for number, (stage, output) in enumerate(zip(stages, outputs.heads)):
        name = "decode" if len(stages) == 1 else f"decode_{number}"
        if not computes_stock_loss(stage):
            loss = stage.loss_by_feat(output, data_samples)
        else:
            is_last = number == len(stages) - 1
            logits = outputs.logits_NCHW if is_last else _logits(stage, output)
            loss = head_losses(stage, logits, labels_NHW)
        losses.update(add_prefix(loss, name))
    auxiliary = getattr(net, "auxiliary_head", None)
    if auxiliary is not None:
        is_list = isinstance(auxiliary, nn.ModuleList)
        for number, head in enumerate(auxiliary if is_list else [auxiliary]):
            if computes_stock_loss(head) and type(head).loss is BaseDecodeHead.loss:
                loss = head_losses(head, head(outputs.feats), labels_NHW)
            else:
                loss = head.loss(outputs.feats, data_samples, net.train_cfg)
            losses.update(add_prefix(loss, f"aux_{number}" if is_list else "aux"))
    return losses


def pseudo_label_visuals(
    inputs: dict[str, Any], confidence_NHW: Tensor, label_NHW: Tensor, target_BHW: Tensor
) -> dict[str, Tensor]:
    """What a method shows of its pseudo-labels (``model.visuals``), without graph.

    Args:
        inputs: Branches of the preprocessor.
        confidence_NHW: The label's probability on the weak views, in the order of
            ``unsup_teacher``.
        label_NHW: Label of the weak views.
        target_BHW: Label of each student view; ``ignore_index`` where the method keeps none.

    Returns:
        ``image`` (N, 3, H, W) weak views, normalised; ``label`` (N, H, W); ``confidence``
        (N, H, W); ``student`` (B, 3, H, W) views, normalised; ``target`` (B, H, W); ``first``
        (B,), the weak view that a student view starts from.
    """
    recipe, student = inputs.get("mix"), inputs["unsup_student"]
    first = torch.arange(len(student)) % len(label_NHW) if recipe is None else recipe.first
    return dict(
        image=inputs["unsup_teacher"],
        label=label_NHW,
        confidence=confidence_NHW,
        student=student,
        target=target_BHW,
        first=first,
    )
