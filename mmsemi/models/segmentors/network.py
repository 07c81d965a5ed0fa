# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""What a method needs of an mmseg segmentor: its logits, and its supervised loss from one forward.

Stock segmentors compute the loss and the logits in different forwards. A method that needs both on
the same image (CPS on labelled crops) would run the network twice; these functions run it once.
They cover ``EncoderDecoder`` and ``CascadeEncoderDecoder`` with any head that gives per-pixel logits.

Shape suffixes: N batch, C classes, H W pixels.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch.nn.functional as F
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
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
        parts = zip(*(_split(item, sizes) for item in self))
        return [Outputs(*part) for part in parts]


def _split(item: Any, sizes: list[int]) -> list[Any]:
    """Split tensors along the batch inside nested lists and tuples."""
    if isinstance(item, Tensor):
        return list(item.split(sizes))
    columns = zip(*(_split(entry, sizes) for entry in item))
    return [type(item)(column) for column in columns]


def decode_stages(net: nn.Module) -> list[nn.Module]:
    """The decode head's stages: one, or those of a cascade."""
    head = net.decode_head
    return list(head) if isinstance(head, nn.ModuleList) else [head]


def check_per_pixel_logits(net: nn.Module) -> None:
    """Refuse networks whose head does not give one logit a class and pixel.

    Raises:
        TypeError: The decode head classifies masks or queries (Mask2Former, MaskFormer, SAN, ...).
    """
    for stage in decode_stages(net):
        if not isinstance(stage, BaseDecodeHead) or "loss" in vars(type(stage)):
            raise TypeError(
                f"{type(stage).__name__} gives no per-pixel logits from features alone, which "
                "semi-supervised methods compare between views: choose a head such as FCNHead, "
                "PSPHead, DeepLabV3PlusHead, OCRHead, SegformerHead or UPerHead"
            )


def _logits(output: Any) -> Tensor:
    # Some heads return their logits first, then further maps (EncHead, DAHead).
    return output[0] if isinstance(output, (tuple, list)) else output


def forward_network(net: nn.Module, x_N3HW: Tensor) -> Outputs:
    """Run a segmentor on normalised images, keeping what its supervised loss needs."""
    feats = net.extract_feat(x_N3HW)
    first, *further = decode_stages(net)
    heads = [first(feats)]
    for stage in further:
        heads.append(stage(feats, heads[-1]))
    logits = F.interpolate(
        _logits(heads[-1]), x_N3HW.shape[-2:], mode="bilinear", align_corners=net.align_corners
    )
    return Outputs(feats, heads, logits)


def supervised_losses(
    net: nn.Module, outputs: Outputs, data_samples: list[SegDataSample]
) -> dict[str, Tensor]:
    """The network's own losses (decode stages and auxiliary heads), named as mmseg names them."""
    losses: dict[str, Tensor] = {}
    stages = decode_stages(net)
    for number, (stage, output) in enumerate(zip(stages, outputs.heads)):
        name = "decode" if len(stages) == 1 else f"decode_{number}"
        losses.update(add_prefix(stage.loss_by_feat(output, data_samples), name))
    auxiliary = getattr(net, "auxiliary_head", None)
    if auxiliary is not None:
        is_list = isinstance(auxiliary, nn.ModuleList)
        for number, head in enumerate(auxiliary if is_list else [auxiliary]):
            loss = head.loss(outputs.feats, data_samples, net.train_cfg)
            losses.update(add_prefix(loss, f"aux_{number}" if is_list else "aux"))
    return losses
