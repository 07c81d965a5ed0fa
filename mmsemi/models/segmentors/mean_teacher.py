# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Mean teacher, and its CutMix form.

- Tarvainen, Valpola, *Mean teachers are better role models*, NeurIPS 2017,
  https://arxiv.org/abs/1703.01780, as the CPS authors moved it to segmentation (TorchSemiSeg).
- French, Laine, Aila, Mackiewicz, Finlayson, *Semi-supervised semantic segmentation needs strong,
  varied perturbations*, BMVC 2020, https://arxiv.org/abs/1906.01916: the teacher labels two images,
  the student must give the mixed labels on the mixed image.

One class, two presets: :class:`MeanTeacher` and :class:`CutMixMeanTeacher` differ in their defaults
only. A batch that is mixed (``mix=dict(type='CutMix')``) trains the CutMix form in either.

Decisions:

- One forward per image stream (labelled, u0, u1, mixed), because each has batch-norm statistics of
  its own in both released codes.
- Logits are mixed, then compared: the teacher never sees a mixed image.
- The teacher of the released mean teacher is in train mode, keeps its own batch-norm statistics and
  is averaged between the labelled and the unlabelled forward; all three are options.
"""

from __future__ import annotations

import torch
from mmseg.registry import MODELS
from torch import Tensor

from ..losses import CONSISTENCY_FORMS, confidence_weight, consistency_loss
from .base import Inputs, Losses, Samples, SemiSegmentor
from .network import (
    confidence_and_labels,
    forward_network,
    hard_labels,
    pseudo_label_visuals,
    stack_masks,
)


@MODELS.register_module()
class MeanTeacher(SemiSegmentor):
    """Student and exponential moving average of its weights, drawn to the same prediction.

    ``semi_train_cfg``:

    - ``unsup_weight`` (100): weight of the consistency loss. It belongs to ``consistency``: 100 with
      ``'mse'`` is about 100/C with ``'squared_distance'``.
    - ``rampup_iters`` (0): iterations over which the weight grows as exp(-5 (1 - t/T)^2).
    - ``consistency`` (``'mse'``): distance of the predictions, see
      :data:`~mmsemi.models.losses.CONSISTENCY_FORMS`.
    - ``confidence_threshold`` (None), ``confidence_mode`` (``'mean'``): trust the teacher only so
      far, see :func:`~mmsemi.models.losses.confidence_weight`.
    - ``consistency_on_labeled`` (True): compare on the labelled images too.
    - ``ignore_padding`` (False): leave padded borders (of labelled images also void) out.
    - ``momentum`` (0.01): weight of the new value in the average, 1 - decay.
    - ``teacher_mode`` (``'train'``): batch statistics for the teacher, or ``'eval'``.
    - ``buffers`` (``'keep'``): the teacher's batch-norm statistics are its own, or ``'copy'``,
      ``'ema'``; see :class:`~mmsemi.engine.hooks.MeanTeacherHook`.
    - ``ema_when`` (``'mid'``): average between the labelled and the unlabelled forward, or
      ``'after'`` the optimiser step.

    ``semi_test_cfg``: ``predict_on`` ``'student'`` (as released) or ``'teacher'``.
    """

    train_cfg_defaults = dict(
        unsup_weight=100.0,
        rampup_iters=0,
        consistency="mse",
        confidence_threshold=None,
        confidence_mode="mean",
        consistency_on_labeled=True,
        ignore_padding=False,
        momentum=0.01,
        teacher_mode="train",
        buffers="keep",
        ema_when="mid",
    )
    test_cfg_defaults = dict(predict_on="student")
    has_teacher = True

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self._check_choice("consistency", CONSISTENCY_FORMS)
        self._check_choice("confidence_mode", ("mean", "pixel"))
        self._check_choice("ema_when", ("mid", "after"))
        self._check_teacher_statistics()

    def required_hooks(self) -> list[dict]:
        """The average, as the settings of the method ask for."""
        cfg = self.semi_train_cfg
        return [
            dict(
                type="MeanTeacherHook",
                momentum=cfg["momentum"],
                buffers=cfg["buffers"],
                when=cfg["ema_when"],
            )
        ]

    def loss(self, inputs: Inputs, data_samples: Samples) -> Losses:
        """One iteration.

        Returns:
            ``sup.*``: the student's supervised losses; ``unsup.loss_consistency``: the weighted
            distance to the teacher; ``unsup.confident``: share of unlabelled pixels above the
            threshold, if there is one; ``unsup.agree``: share on which both give the same class.
        """
        self._check_training_inputs(inputs)
        weak, recipe = self._unlabeled(inputs), inputs.get("mix")
        labeled = forward_network(self.student, inputs["sup"])
        losses = self.supervise("sup", self.student, labeled, data_samples["sup"])
        pairs = []
        if self.semi_train_cfg["consistency_on_labeled"]:
            pairs.append((labeled.logits_NCHW, self._teach([inputs["sup"]])))
        self._average_now()
        streams = [weak] if recipe is None else weak.split(len(recipe.first))
        weak_logits = self._teach(streams)
        target = weak_logits if recipe is None else recipe.apply(weak_logits)
        student = forward_network(self.student, inputs["unsup_student"]).logits_NCHW
        pairs.append((student, target))
        losses.update(self._consistency(pairs, self._valid(inputs, data_samples)))
        losses["unsup.agree"] = (hard_labels(student) == hard_labels(target)).float().mean()
        if self.keep_visuals:
            belief = confidence_and_labels(weak_logits)
            self.visuals = pseudo_label_visuals(inputs, *belief, hard_labels(target))
        return losses

    def _average_now(self) -> None:
        if self.semi_train_cfg["ema_when"] != "mid":
            return
        if self.update_teacher is None:
            raise RuntimeError(
                "semi_train_cfg.ema_when='mid' needs MeanTeacherHook(when='mid'): leave the hook out "
                "of custom_hooks, the training loop adds it with the right settings"
            )
        self.update_teacher()

    @torch.no_grad()
    def _teach(self, streams: list[Tensor]) -> Tensor:
        """The teacher's logits, one forward a stream."""
        return torch.cat([forward_network(self.teacher, x).logits_NCHW for x in streams])

    def _valid(self, inputs: Inputs, data_samples: Samples) -> Tensor | None:
        """Pixels that count, of all images that are compared; None for every pixel."""
        if not self.semi_train_cfg["ignore_padding"]:
            return None
        valid, recipe = inputs["valid"], inputs.get("mix")
        valid = valid if recipe is None else recipe.apply(valid)
        if not self.semi_train_cfg["consistency_on_labeled"]:
            return valid
        labels = stack_masks(data_samples["sup"])
        return torch.cat([labels != self.ignore_index, valid])

    def _consistency(self, pairs: list[tuple[Tensor, Tensor]], valid: Tensor | None) -> Losses:
        """The mean over the pixels of all images together, and the confident share."""
        cfg = self.semi_train_cfg
        student, teacher = (torch.cat(part) if len(part) > 1 else part[0] for part in zip(*pairs))
        confidence, losses = None, {}
        if cfg["confidence_threshold"] is not None:
            confidence = confidence_weight(
                teacher, cfg["confidence_threshold"], cfg["confidence_mode"]
            )
            losses["unsup.confident"] = confidence.mean()
        loss = consistency_loss(student, teacher, cfg["consistency"], confidence, valid)
        losses["unsup.loss_consistency"] = cfg["unsup_weight"] * self.rampup() * loss
        return losses


@MODELS.register_module()
class CutMixMeanTeacher(MeanTeacher):
    """Mean teacher with the loss and the settings of French et al.

    The preprocessor needs ``mix=dict(type='CutMix', num_boxes=1, area_range=(0.5, 0.5))``, which is
    their mask. Their squared distance is summed over the classes and scaled by the share of
    confident pixels; the teacher is averaged after the step, batch-norm statistics included, and
    predicts. Settings: those of :class:`MeanTeacher`.
    """

    train_cfg_defaults = dict(
        MeanTeacher.train_cfg_defaults,
        unsup_weight=1.0,
        consistency="squared_distance",
        confidence_threshold=0.97,
        consistency_on_labeled=False,
        ignore_padding=True,
        buffers="ema",
        ema_when="after",
    )
    test_cfg_defaults = dict(predict_on="teacher")

    def loss(self, inputs: Inputs, data_samples: Samples) -> Losses:
        """One iteration on a mixed batch, see :meth:`MeanTeacher.loss`."""
        if isinstance(inputs, dict) and "unsup_teacher" in inputs and inputs.get("mix") is None:
            raise ValueError(
                "CutMixMeanTeacher got a batch that is not mixed: set model.data_preprocessor.mix="
                "dict(type='CutMix', num_boxes=1, area_range=(0.5, 0.5))"
            )
        return super().loss(inputs, data_samples)
