# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""The smallest method with an EMA teacher; a module, so that subprocess runs can import it too."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from mmseg.registry import MODELS

from mmsemi.models import EMATeacher, SemiSegmentor
from mmsemi.models.forward import forward
from mmsemi.models.settings import ViewSettings, setting
from mmsemi.structures import SemiBatch


@dataclass(frozen=True)
class ToyTeacherStudentSettings(ViewSettings):
    teacher_mode: str = setting("eval", "mode of the teacher", choices=("eval", "train"))
    momentum: float = setting(0.1, "weight of the new value", low=0, high=1)


@MODELS.register_module()
class ToyTeacherStudent(SemiSegmentor):
    """Supervised loss plus squared distance between student and teacher on unlabelled images."""

    Settings = ToyTeacherStudentSettings

    def build_networks(self, network: dict) -> None:
        super().build_networks(network)
        cfg = self.settings
        self.teacher = EMATeacher(self.student, cfg.momentum, mode=cfg.teacher_mode)

    def loss(self, batch: SemiBatch) -> dict[str, torch.Tensor]:
        labeled = forward(self.student, batch.labeled.pixels_NCHW)
        losses = self.supervised("sup", self.student, labeled, batch.labeled)
        with torch.no_grad():
            target = forward(self.teacher.module, batch.unlabeled.pixels_NCHW).logits_NCHW.softmax(
                1
            )
        view = self.strong_view(batch.unlabeled, batch)
        student = forward(self.student, view).logits_NCHW.softmax(1)
        losses["unsup.loss_mse"] = (student - target).square().mean()
        return losses
