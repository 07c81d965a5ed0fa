# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""The smallest method with an EMA teacher; a module, so that subprocess runs can import it too."""

from __future__ import annotations

import torch
from mmseg.registry import MODELS

from mmsemi.models import SemiSegmentor
from mmsemi.models.segmentors.network import forward_network


@MODELS.register_module()
class ToyTeacherStudent(SemiSegmentor):
    """Supervised loss plus squared distance between student and teacher on unlabelled images."""

    train_cfg_defaults = dict(teacher_mode="eval")
    test_cfg_defaults = dict(predict_on="teacher")
    has_teacher = True

    def required_hooks(self) -> list[dict]:
        return [dict(type="MeanTeacherHook", momentum=0.1)]

    def get_pseudo_labels(self, inputs, data_samples):
        with torch.no_grad():
            return forward_network(self.teacher, inputs["unsup_teacher"]).logits_NCHW.softmax(1)

    def loss_by_pseudo(self, inputs, targets):
        student = forward_network(self.student, inputs["unsup_student"]).logits_NCHW.softmax(1)
        return {"unsup.loss_mse": (student - targets).square().mean()}
