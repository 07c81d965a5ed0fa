# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""What the steps of all methods are made of: forwards, pseudo-labels, the supervised loss.

:func:`forward` runs any mmseg segmentor with per-pixel logits (``EncoderDecoder``,
``CascadeEncoderDecoder``) once, and keeps what its supervised loss needs: a stock segmentor would
run again for the loss. :func:`pseudo_labels` turns logits into labels and confidences.

Where a head computes its loss as ``BaseDecodeHead`` does, the same values are computed here without
what that method costs: a second resize of the logits, a stack of the labels for every head, and an
accuracy that makes the host wait for the device. Other heads compute their own.

Shape suffixes: N images, C classes, H rows, W columns.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from mmseg.models.decode_heads.cascade_decode_head import BaseCascadeDecodeHead
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.registry import MODELS
from mmseg.utils import add_prefix
from torch import Tensor, nn

from ..errors import ConfigError
from ..structures import Images, PseudoLabels
from .frozen_encoder import step_maps

Labeller = Callable[[Tensor], PseudoLabels]


class Outputs(NamedTuple):
    """One forward of a segmentation network.

    Attributes:
        feats: Features of backbone (and neck).
        heads: The raw output of each stage of the decode head (one, or one a cascade stage).
        logits_NCHW: Logits of the last stage, resized to the input; two classes of a binary head
            with one output channel, see :func:`two_class_logits`.
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


def join_nested(*items: Any) -> Any:
    """Join tensors along the batch inside nested lists and tuples of one structure."""
    return map_nested(lambda *parts: torch.cat(parts), *items)


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
        ConfigError: The decode head classifies masks or queries (Mask2Former, MaskFormer, SAN, ...).
    """
    heads = segmentor.get("decode_head")
    for head in heads if isinstance(heads, (list, tuple)) else [heads]:
        kind = head.get("type") if isinstance(head, dict) else None
        kind = MODELS.get(kind) if isinstance(kind, str) else kind
        if isinstance(kind, type) and not gives_per_pixel_logits(kind):
            raise ConfigError(
                f"{kind.__name__} gives no per-pixel logits from features alone, which "
                "semi-supervised methods compare between views: choose a head such as FCNHead, "
                "PSPHead, DeepLabV3PlusHead, OCRHead, SegformerHead or UPerHead"
            )


def gives_per_pixel_logits(head: type) -> bool:
    """Whether a head maps features to logits, and logits to its loss, as mmseg's base does."""
    stock = (BaseDecodeHead.loss, BaseCascadeDecodeHead.loss)
    return issubclass(head, BaseDecodeHead) and head.loss in stock


def check_losses(net: nn.Module, compares_classes: bool) -> None:
    """Refuse losses that train other outputs than those that the method reads.

    Args:
        net: A segmentor.
        compares_classes: Whether the method compares softmax probabilities of its logits.

    Raises:
        ConfigError: One output channel is trained with a softmax, or several of a network whose
            softmax is compared with nothing but sigmoids (``use_sigmoid``), which do not sum to one.
    """
    for stage in decode_stages(net):
        losses = stage.loss_decode
        losses = list(losses) if isinstance(losses, nn.ModuleList) else [losses]
        sigmoids = [getattr(loss, "use_sigmoid", None) for loss in losses]
        names = ", ".join(type(loss).__name__ for loss in losses)
        if stage.out_channels == 1 and False in sigmoids:
            raise ConfigError(
                f"decode_head.out_channels=1 is a sigmoid, but loss_decode ({names}) has "
                "use_sigmoid=False: set loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=True), "
                f"or out_channels={stage.num_classes}"
            )
        if compares_classes and stage.out_channels > 1 and all(sigmoids):
            raise ConfigError(
                f"loss_decode ({names}) has use_sigmoid=True with out_channels={stage.out_channels}: "
                "the method compares softmax probabilities, which it does not train: use a softmax "
                "loss such as PixelCrossEntropy, or beside it, or out_channels=1 for two classes"
            )


def _logits(head: nn.Module, output: Any) -> Tensor:
    """The logits that the head predicts with, where it returns further maps in training."""
    if not isinstance(output, (tuple, list)):
        return output
    # EncHead, DAHead, DDRHead give them first, PIDHead second, K-Net's stages last.
    return output[{"PIDHead": 1, "IterativeDecodeHead": -1}.get(type(head).__name__, 0)]


def head_logits(net: nn.Module, outputs: Outputs) -> Tensor:
    """Logits of the last stage of the decode head, of its own size; two classes of a binary head."""
    return two_class_logits(_logits(decode_stages(net)[-1], outputs.heads[-1]))


def forward(net: nn.Module, x_NCHW: Tensor | Sequence[Tensor]) -> Outputs:
    """Run a segmentor on normalised images; several batches share the forward."""
    size_hw = (x_NCHW if isinstance(x_NCHW, Tensor) else x_NCHW[0]).shape[-2:]
    return decode(net, encode(net, x_NCHW), size_hw)


def encode(net: nn.Module, x_NCHW: Tensor | Sequence[Tensor]) -> Any:
    """Features of a segmentor's backbone (and neck), in nested lists or tuples.

    Args:
        net: The segmentor.
        x_NCHW: Images, or several batches of them, which share the forward. A frozen encoder finds the
            maps of a batch that it saw in this step again.
    """
    maps = step_maps(net)
    if maps is None:
        return net.extract_feat(x_NCHW if isinstance(x_NCHW, Tensor) else torch.cat(list(x_NCHW)))
    parts = [x_NCHW] if isinstance(x_NCHW, Tensor) else [part for part in x_NCHW if len(part)]
    feats = map_nested(_concatenated, *(maps.of(net.backbone, part) for part in parts))
    return net.neck(feats) if net.with_neck else feats


def _concatenated(*parts: Tensor) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def decode(net: nn.Module, feats: Any, size_hw: Sequence[int]) -> Outputs:
    """Run the decode head on features of images of ``size_hw``."""
    stages = decode_stages(net)
    heads = [stages[0](feats)]
    for stage in stages[1:]:
        heads.append(stage(feats, heads[-1]))
    logits = _resize(_logits(stages[-1], heads[-1]), size_hw, net.align_corners)
    return Outputs(feats, heads, two_class_logits(logits))


def two_class_logits(logits_NCHW: Tensor) -> Tensor:
    """The logits (0, z) of two classes for one channel z: their softmax is the sigmoid of z."""
    if logits_NCHW.shape[1] != 1:
        return logits_NCHW
    return torch.cat([torch.zeros_like(logits_NCHW), logits_NCHW], 1)


def one_channel_logits(logits_NCHW: Tensor) -> Tensor:
    """The inverse of :func:`two_class_logits` for any two logits: their difference."""
    return logits_NCHW[:, 1:] - logits_NCHW[:, :1]


def _resize(logits_NCHW: Tensor, size_hw: Sequence[int], align_corners: bool) -> Tensor:
    return F.interpolate(logits_NCHW, tuple(size_hw), mode="bilinear", align_corners=align_corners)


def call_frozen(net: nn.Module, *args: Any) -> Any:
    """Call a network whose parameters get no gradient, while its inputs do."""
    frozen = {name: value.detach() for name, value in net.named_parameters()}
    return torch.func.functional_call(net, frozen, args)


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


def pseudo_labels(logits_NCHW: Tensor, with_certainty: bool = False) -> PseudoLabels:
    """The likeliest class of each pixel and its softmax probability, without gradient.

    Without a softmax of all classes: the probability of the maximum z is exp(z - logsumexp).

    Args:
        logits_NCHW: Any float type; computed in float32.
        with_certainty: Also :func:`image_certainty`, for a mix that asks for it.
    """
    logits_NCHW = logits_NCHW.detach().float()
    top_NHW, label_NHW = logits_NCHW.max(1)
    confidence_NHW = (top_NHW - logits_NCHW.logsumexp(1)).exp()
    return PseudoLabels(
        label_NHW, confidence_NHW, image_certainty(logits_NCHW) if with_certainty else None
    )


def image_certainty(logits_NCHW: Tensor) -> Tensor:
    """How certain a network is of each image: mean over its pixels of (1 - H / ln C) max P.

    Zhao et al., *Augmentation Matters* (AugSeg), CVPR 2023, arXiv 2212.04976.

    Args:
        logits_NCHW: Any float type; computed in float32.

    Returns:
        (N,) float32 in [0, 1] without gradient: 1 is certain everywhere, 0 uniform.
    """
    maps_NCHW = logits_NCHW.detach().float().softmax(1)
    entropy_NHW = torch.special.entr(maps_NCHW).sum(1)
    certain_NHW = 1 - entropy_NHW / math.log(logits_NCHW.shape[1])
    return (certain_NHW * maps_NCHW.amax(1)).mean((1, 2))


def join_labels(*parts: PseudoLabels) -> PseudoLabels:
    """The pseudo-labels of several batches as one."""
    columns = zip(*parts)
    return PseudoLabels(*(None if c[0] is None else torch.cat(c) for c in columns))


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


def head_losses(
    head: nn.Module, logits_NChw: Tensor, labels_NHW: Tensor, weight_NHW: Tensor | None = None
) -> dict[str, Tensor]:
    """What ``BaseDecodeHead.loss_by_feat`` returns, resizing logits only if they need it."""
    if logits_NChw.shape[-2:] != labels_NHW.shape[-2:]:
        logits_NChw = _resize(logits_NChw, labels_NHW.shape[-2:], head.align_corners)
    losses: dict[str, Tensor] = {}
    modules = head.loss_decode
    for module in modules if isinstance(modules, nn.ModuleList) else [modules]:
        value = module(logits_NChw, labels_NHW, weight=weight_NHW, ignore_index=head.ignore_index)
        known = losses.get(module.loss_name)
        losses[module.loss_name] = value if known is None else known + value
    logits_NChw = two_class_logits(logits_NChw.detach())
    losses["acc_seg"] = accuracy(logits_NChw, labels_NHW, head.ignore_index)
    return losses


def supervised_losses(
    net: nn.Module, outputs: Outputs, labeled: Images, weight_NHW: Tensor | None = None
) -> dict[str, Tensor]:
    """The network's own losses (decode stages and auxiliary heads), named as mmseg names them.

    Args:
        net: A segmentor.
        outputs: Of a forward of it.
        labeled: The images, with labels.
        weight_NHW: Factor of each pixel's loss, for heads that compute their loss as mmseg's base does.

    Raises:
        ConfigError: A head that computes its own loss shall weigh its pixels.
    """
    losses: dict[str, Tensor] = {}
    stages = decode_stages(net)
    for number, (stage, output) in enumerate(zip(stages, outputs.heads)):
        name = "decode" if len(stages) == 1 else f"decode_{number}"
        if not computes_stock_loss(stage):
            _refuse_weight(stage, weight_NHW)
            loss = stage.loss_by_feat(output, labeled.samples)
        else:
            is_resized = number == len(stages) - 1 and stage.out_channels > 1
            logits = outputs.logits_NCHW if is_resized else _logits(stage, output)
            loss = head_losses(stage, logits, labeled.labels_NHW, weight_NHW)
        losses.update(add_prefix(loss, name))
    auxiliary = getattr(net, "auxiliary_head", None)
    if auxiliary is not None:
        is_list = isinstance(auxiliary, nn.ModuleList)
        for number, head in enumerate(auxiliary if is_list else [auxiliary]):
            if computes_stock_loss(head) and type(head).loss is BaseDecodeHead.loss:
                loss = head_losses(head, head(outputs.feats), labeled.labels_NHW, weight_NHW)
            else:
                _refuse_weight(head, weight_NHW)
                loss = head.loss(outputs.feats, labeled.samples, net.train_cfg)
            losses.update(add_prefix(loss, f"aux_{number}" if is_list else "aux"))
    return losses


def _refuse_weight(head: nn.Module, weight_NHW: Tensor | None) -> None:
    if weight_NHW is not None:
        raise ConfigError(
            f"{type(head).__name__} computes its own loss, which takes no weight for each pixel: choose "
            "another head, or no weight of pseudo-labels"
        )


def label_pasted(
    student: nn.Module, weak_NCHW: Tensor, num_mixed: int, mode: str, label: Labeller
) -> PseudoLabels | None:
    """Pseudo-labels of images that a mix pastes, from a forward of their own, without gradient.

    In the released code these images belong to another batch, which the student labels in eval mode.

    Args:
        student: The student.
        weak_NCHW: Weak views of all unlabelled images.
        num_mixed: How many of them mixed images start from. Where that is not all, the others are
            those that are pasted.
        mode: ``'eval'``: running statistics and no dropout; ``'train'``: as in training, and, where
            every image is both, no forward of its own at all.
        label: Turns logits into pseudo-labels.

    Returns:
        Pseudo-labels of ``weak_NCHW[num_mixed:]``, or of all images where mixed images start from
        each; None if those of the other forward serve.
    """
    everywhere = num_mixed == len(weak_NCHW)
    pasted_NCHW = weak_NCHW if everywhere else weak_NCHW[num_mixed:]
    if mode == "eval":
        with eval_mode(student):
            return label(forward(student, pasted_NCHW).logits_NCHW)
    if everywhere:
        return None
    with torch.no_grad():
        return label(forward(student, pasted_NCHW).logits_NCHW)


def complete_labels(
    pseudo: PseudoLabels, pasted: PseudoLabels | None, num_images: int
) -> tuple[PseudoLabels, PseudoLabels]:
    """Pseudo-labels of all unlabelled images, to mix from and to paste.

    Args:
        pseudo: Of all images, or of the first ones.
        pasted: See :func:`label_pasted`.
        num_images: Unlabelled images in the batch.
    """
    if len(pseudo.label_NHW) < num_images:
        pseudo = join_labels(pseudo, pasted)
        return pseudo, pseudo
    return pseudo, pasted or pseudo
