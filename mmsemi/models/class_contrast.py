# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""U2PL's contrastive loss: anchors of each class against its centre and the rows of its memory bank.

Shape suffixes: N images, D channels, h rows, w columns of features, P pixels of all images; C classes,
M anchors of a class, K keys of a class.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from mmengine.dist import get_world_size
from torch import Generator, Tensor

from .losses import (
    ClassPixels,
    class_centers,
    draw_members,
    draw_some,
    full_precision,
    info_nce,
    mean_of_classes,
    position_of,
)
from .memory_bank import ClassMemoryBank


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
        bank: Rows of each class.
        settings: ``num_anchors``, ``num_negatives``, ``num_keys``, ``temperature`` and
            ``released_contrast`` of :class:`~mmsemi.models.segmentors.u2pl.U2PLSettings`.
    """

    def __init__(self, bank: ClassMemoryBank, settings: Any) -> None:
        self.bank, self.settings = bank, settings

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
        student_NDhw: Tensor,
        teacher_NDhw: Tensor,
        pixels: ClassPixels,
        generator: Generator | None,
    ) -> tuple[Tensor, Tensor]:
        """Put new keys into the bank, and compare.

        Args:
            student_NDhw: Features, with gradient.
            teacher_NDhw: Of the same pixels, without.
            pixels: Which of them are what to each class.
            generator: CPU generator.

        Returns:
            The loss, and the number of classes that it has anchors and negatives of, 0-d.
        """
        cfg, bank = self.settings, self.bank
        student_PD, teacher_PD = (
            full_precision(one).permute(0, 2, 3, 1).flatten(0, 2)
            for one in (student_NDhw, teacher_NDhw)
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
