# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""U2PL's contrastive loss: anchors of each class against its centre and the rows of its memory bank.

Shape suffixes: N images, D channels, H rows, W columns; h, w of features, P their pixels of all images;
C classes, M anchors of a class, K keys of a class.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from mmengine.dist import get_world_size
from torch import BoolTensor, Generator, LongTensor, Tensor, nn

from .features import nearest
from .forward import Outputs, decode_stages, head_logits
from .losses import (
    class_centers,
    class_pixels,
    draw_members,
    draw_some,
    full_precision,
    info_nce,
    mean_of_classes,
    position_of,
)
from .memory_bank import ClassMemoryBank
from .settings import MethodSettings, setting


@dataclass(frozen=True)
class ClassContrastSettings(MethodSettings):
    """Settings of a method with a :class:`ClassContrast`."""

    threshold: float = setting(
        0.3, "delta_p, probability of its own class above which a pixel is an anchor", low=0, high=1
    )
    low_rank: int = setting(
        3,
        "r_l: an unreliable pixel is no negative of its first `low_rank` classes; at most C - 1",
        low=1,
    )
    high_rank: int = setting(20, "r_h: nor of those from this rank on; at most C", low=1)
    temperature: float = setting(0.5, "tau, by which cosines of features are divided", low=1e-3)
    num_anchors: int = setting(256, "M, anchors that are drawn of each class", low=1)
    num_negatives: int = setting(50, "N, negatives that are drawn for each anchor", low=1)
    num_keys: int = setting(
        256, "negatives of a class that a step of a process puts into the bank, at most", low=1
    )
    bank_size: int = setting(30_000, "rows of the bank of each class but the first one", low=1)
    first_bank_size: int = setting(50_000, "rows of the bank of class 0", low=1)
    bank_dtype: str = setting(
        "float16", "type of these rows, which are unit vectors", choices=("float16", "float32")
    )
    representation_channels: int = setting(256, "channels of the features that are compared", low=1)
    released_contrast: bool = setting(
        False,
        "the contrastive loss of the released code, see docs/methods/u2pl.md; its weight is `1.0`",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.low_rank >= self.high_rank:
            self.refuse(
                "low_rank", f"must be below high_rank={self.high_rank}: there is no negative"
            )


class Look(NamedTuple):
    """What a network says of labelled images and views: labelled images first.

    Attributes:
        labeled: Outputs on labelled images.
        views: Outputs on the views of unlabelled ones.
        representation_NDhw: Features of both that are compared.
    """

    labeled: Outputs
    views: Outputs
    representation_NDhw: Tensor


class Uniforms(NamedTuple):
    """Numbers of [0, 1) that the contrastive loss of a step draws.

    Attributes:
        anchors_CM: Which anchors of each class.
        negatives_CMN: Which rows of the bank for each of them.
        keys_P: Which pixels go into the bank.
    """

    anchors_CM: Tensor
    negatives_CMN: Tensor
    keys_P: Tensor


class ClassContrast:
    """The loss with its bank, section 3.3 of the paper; see docs/methods/u2pl.md.

    Args:
        net: The segmentor whose features are compared.
        settings: Of the method.
    """

    def __init__(self, net: nn.Module, settings: ClassContrastSettings) -> None:
        self.net, self.settings = net, settings
        classes = max(2, decode_stages(net)[-1].out_channels)
        sizes = [settings.first_bank_size, *[settings.bank_size] * (classes - 1)]
        self.bank = ClassMemoryBank(sizes, getattr(torch, settings.bank_dtype))

    def draw(self, num_pixels: int, generator: Generator | None, device: torch.device) -> Uniforms:
        """Draw what a step needs, on the CPU."""
        cfg, classes = self.settings, len(self.bank.sizes)
        sizes = (
            (classes, cfg.num_anchors),
            (classes, cfg.num_anchors, cfg.num_negatives),
            (num_pixels,),
        )
        drawn = (torch.rand(size, generator=generator) for size in sizes)
        return Uniforms(*(one.to(device, non_blocking=True) for one in drawn))

    def __call__(
        self,
        student: Look,
        teacher: Look,
        label_NHW: LongTensor,
        low_NHW: BoolTensor,
        high_NHW: BoolTensor,
        generator: Generator | None,
    ) -> tuple[Tensor, Tensor]:
        """Put new keys into the bank, and compare.

        Args:
            student: What it sees, with gradient.
            teacher: What it sees of the same images, without.
            label_NHW: True and pseudo-labels, labelled images first.
            low_NHW: Pixels of low entropy; of a labelled image all that have a label.
            high_NHW: Pixels of high entropy; of a labelled image all that have a label.
            generator: CPU generator.

        Returns:
            The loss, and the number of classes that it has anchors and negatives of, 0-d.
        """
        cfg, bank = self.settings, self.bank
        student_PD, teacher_PD = (
            full_precision(one.representation_NDhw).permute(0, 2, 3, 1).flatten(0, 2)
            for one in (student, teacher)
        )
        size_hw = teacher.representation_NDhw.shape[-2:]
        logits = [head_logits(self.net, out) for out in (teacher.labeled, teacher.views)]
        pixels = class_pixels(
            full_precision(torch.cat(logits)).softmax(1),
            *(nearest(one, size_hw) for one in (label_NHW, low_NHW, high_NHW)),
            len(logits[0]),
            low_rank=min(cfg.low_rank, len(bank.sizes) - 1),
            high_rank=min(cfg.high_rank, len(bank.sizes)),
            threshold=cfg.threshold,
            released=cfg.released_contrast,
        )
        uniforms = self.draw(len(teacher_PD), generator, teacher_PD.device)
        keys_CK, valid_CK = draw_some(pixels.keys_CP, uniforms.keys_P, cfg.num_keys)
        bank.push(teacher_PD[keys_CK], valid_CK)

        is_valid_C, has_anchor_C = pixels.members_CP.any(1), pixels.anchors_CP.any(1)
        bank_C = torch.arange(len(is_valid_C), device=is_valid_C.device)
        counted_C = is_valid_C
        if cfg.released_contrast:  # the first classes against the banks of those that are valid
            counted_C = bank_C < is_valid_C.sum()
            bank_C = (~is_valid_C).long().argsort(stable=True)
        count_C = bank.count_C[bank_C]
        anchor_CMD = student_PD[draw_members(pixels.anchors_CP, uniforms.anchors_CM)]
        center_C1D = class_centers(teacher_PD, pixels.members_CP)[:, None]
        row_CMN = position_of(uniforms.negatives_CMN, count_C[:, None, None])
        negative_CMND = bank.draw(row_CMN, bank_C)
        with torch.autocast(anchor_CMD.device.type, enabled=False):
            loss_CM = info_nce(anchor_CMD, center_C1D, negative_CMND, cfg.temperature)
        counts_C = counted_C & has_anchor_C & (count_C > 0)
        loss = mean_of_classes(loss_CM.mean(1), counts_C, is_valid_C)
        if cfg.released_contrast:
            loss = loss / get_world_size()
        return loss, counts_C.sum(dtype=torch.float32)
