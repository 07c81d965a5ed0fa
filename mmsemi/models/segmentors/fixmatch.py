# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""FixMatch for segmentation: confident labels of the weak view supervise a strong, mixed view.

Sohn et al., *FixMatch*, NeurIPS 2020, https://arxiv.org/abs/2001.07685; the segmentation form of the
UniMatch papers, https://arxiv.org/abs/2208.09910 (labels from the student itself) and
https://arxiv.org/abs/2410.10777 (labels from an EMA teacher).

Decisions:

- Both forms are one class: ``labels_from='student'`` has no teacher at all.
- The divisor of each unsupervised term is the number of valid pixels of that view, confident or
  not, so that few confident pixels give a small loss.
- Nothing is back-propagated through a weak view whose gradient no loss uses: the student's own
  labels come from a forward without gradient, in train mode (batch statistics), as released.
- Labels that are pasted in by CutMix come from a forward in eval mode, as released, since the
  partner there belongs to another batch.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from mmseg.registry import MODELS
from torch import Tensor

from ..losses import cross_entropy
from .base import Inputs, Losses, Samples, SemiSegmentor
from .network import (
    Outputs,
    confidence_and_labels,
    eval_mode,
    forward_network,
    pseudo_label_visuals,
)


class Belief(NamedTuple):
    """What a network thinks of images: label and its probability (N, H, W), without gradient."""

    confidence_NHW: Tensor
    label_NHW: Tensor

    @classmethod
    def concatenate(cls, *parts: Belief) -> Belief:
        """The beliefs about several batches as one."""
        return cls(*(torch.cat(part) for part in zip(*parts)))


class Views(NamedTuple):
    """The student's forwards of one iteration.

    Attributes:
        labeled: Outputs on the labelled images.
        strong_NCHW: Logits of all student views, view after view.
        belief: About the weak views, unless a teacher is asked.
        perturbed_NCHW: Logits of the weak views with perturbed features, for methods with those.
    """

    labeled: Outputs
    strong_NCHW: Tensor
    belief: Belief | None = None
    perturbed_NCHW: Tensor | None = None


@MODELS.register_module()
class FixMatch(SemiSegmentor):
    """FixMatch: hard labels above a threshold, from the student or from its EMA teacher.

    The preprocessor makes the strong views, e.g. ``data_preprocessor=dict(strong=dict(
    type='StrongPhotometric'), mix=dict(type='SingleBoxCutMix', pairing='permute'))``.

    ``semi_train_cfg``:

    - ``labels_from`` (``'teacher'``): who labels, the EMA ``'teacher'`` in eval mode (UniMatch-V2's
      FixMatch) or the ``'student'`` (UniMatch's).
    - ``threshold`` (0.95): tau, the least confidence of a label that counts (>=).
    - ``sup_weight``, ``unsup_weight`` (0.5, 0.5): weights of the supervised and unsupervised loss.
    - ``rampup_iters`` (0): iterations over which ``unsup_weight`` grows as exp(-5 (1 - t/T)^2).
    - ``labeled_forward`` (``'alone'``): the view that shares the forward, and thereby the batch-norm
      statistics, of the labelled images: none, ``'weak'`` (UniMatch's code; the student labels) or
      ``'strong'`` (UniMatch-V2's code).
    - ``partner_mode`` (``'eval'``): mode of the student that labels the pasted-in pixels;
      ``'train'`` takes them from the forward that labels the rest, one forward less.
    - ``momentum`` (0.004), ``ema_warmup`` (True), ``buffers`` (``'ema'``): of the teacher, see
      :class:`~mmsemi.engine.hooks.MeanTeacherHook`.

    ``semi_test_cfg``: ``predict_on`` ``'student'`` or, the default where there is one, ``'teacher'``.
    """

    train_cfg_defaults = dict(
        labels_from="teacher",
        threshold=0.95,
        sup_weight=0.5,
        unsup_weight=0.5,
        rampup_iters=0,
        labeled_forward="alone",
        partner_mode="eval",
        momentum=0.004,
        ema_warmup=True,
        buffers="ema",
    )

    takes_several_views = True

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self._check_settings()

    def _check_settings(self) -> None:
        cfg = self.semi_train_cfg
        self._check_choice("labels_from", ("teacher", "student"))
        self._check_choice("labeled_forward", ("alone", "weak", "strong"))
        self._check_choice("partner_mode", ("eval", "train"))
        if cfg["buffers"] == "keep":
            raise ValueError(
                "FixMatch.semi_train_cfg.buffers='keep' is for teachers in train mode, this one is "
                "in eval mode: use 'ema' or 'copy'"
            )
        if cfg["labeled_forward"] == "weak" and self.has_teacher:
            raise ValueError(
                "FixMatch.semi_train_cfg.labeled_forward='weak' needs labels_from='student': with a "
                "teacher the student never sees the weak view"
            )

    @property
    def has_teacher(self) -> bool:
        """Whether an EMA teacher labels."""
        return self.semi_train_cfg["labels_from"] == "teacher"

    def required_hooks(self) -> list[dict]:
        """The average of the teacher, where there is one."""
        if not self.has_teacher:
            return []
        cfg = self.semi_train_cfg
        return [
            dict(
                type="MeanTeacherHook",
                momentum=cfg["momentum"],
                warmup=cfg["ema_warmup"],
                buffers=cfg["buffers"],
            )
        ]

    def loss(self, inputs: Inputs, data_samples: Samples) -> Losses:
        """One iteration.

        Returns:
            ``sup.*``: weighted supervised losses; ``unsup.loss_strong``: the weighted mean of the
            losses of the student views; ``unsup.mask_ratio``: share of valid pixels whose label is
            confident.
        """
        self._check_training_inputs(inputs)
        self._unlabeled(inputs)
        cfg = self.semi_train_cfg
        partner = self._partner_belief(inputs)
        views = self._forward_views(inputs)
        losses = self.supervise(
            "sup", self.student, views.labeled, data_samples["sup"], cfg["sup_weight"]
        )
        belief = views.belief or self._teacher_belief(inputs)
        target = self._target(inputs, belief, partner)
        losses.update(self._unsupervised(inputs, views, belief, target))
        valid_BHW = target.label_NHW != self.ignore_index
        kept_BHW = valid_BHW & (target.confidence_NHW >= cfg["threshold"])
        losses["unsup.mask_ratio"] = kept_BHW.sum() / valid_BHW.sum().clamp(min=1)
        if self.keep_visuals:
            if len(belief.label_NHW) < len(inputs["unsup_teacher"]):
                belief = Belief.concatenate(belief, partner)
            shown = torch.where(kept_BHW, target.label_NHW, self.ignore_index)
            self.visuals = pseudo_label_visuals(inputs, *belief, shown)
        return losses

    # ---------------------------------------------------------------- forwards

    def _own_images(self, inputs: Inputs) -> Tensor:
        """The weak views that a student view starts from; the rest are partners only."""
        weak = inputs["unsup_teacher"]
        return weak[: len(inputs["unsup_student"]) // self.num_views]

    def _partner_belief(self, inputs: Inputs) -> Belief | None:
        """The student's belief, in eval mode, about the images that CutMix pastes in.

        None where one forward labels all images.
        """
        if self.has_teacher or inputs.get("mix") is None:
            return None
        weak, own = inputs["unsup_teacher"], self._own_images(inputs)
        partners = weak if len(own) == len(weak) else weak[len(own) :]
        if self.semi_train_cfg["partner_mode"] == "train":
            if partners is weak:
                return None
            with torch.no_grad():
                return self._belief(forward_network(self.student, partners).logits_NCHW)
        with eval_mode(self.student):
            return self._belief(forward_network(self.student, partners).logits_NCHW)

    @torch.no_grad()
    def _teacher_belief(self, inputs: Inputs) -> Belief:
        return self._belief(forward_network(self.teacher, inputs["unsup_teacher"]).logits_NCHW)

    @staticmethod
    def _belief(logits_NCHW: Tensor) -> Belief:
        return Belief(*confidence_and_labels(logits_NCHW))

    def _forward_views(self, inputs: Inputs) -> Views:
        """Every forward of the student that may need gradient, and its own labels."""
        labeled_x, strong_x = inputs["sup"], inputs["unsup_student"]
        shared = self.semi_train_cfg["labeled_forward"]
        belief = None
        if shared == "strong":
            sizes = [len(labeled_x), len(strong_x)]
            both = forward_network(self.student, torch.cat([labeled_x, strong_x]))
            labeled, strong = both.split(sizes)
        elif shared == "weak":
            own = self._own_images(inputs)
            both = forward_network(self.student, torch.cat([labeled_x, own]))
            labeled, weak = both.split([len(labeled_x), len(own)])
            belief = self._belief(weak.logits_NCHW)
            strong = forward_network(self.student, strong_x)
        else:
            labeled = forward_network(self.student, labeled_x)
            strong = forward_network(self.student, strong_x)
        if belief is None and not self.has_teacher:
            with torch.no_grad():
                weak = forward_network(self.student, self._own_images(inputs))
            belief = self._belief(weak.logits_NCHW)
        return Views(labeled, strong.logits_NCHW, belief)

    # ---------------------------------------------------------------- losses

    def _target(self, inputs: Inputs, belief: Belief, partner: Belief | None) -> Belief:
        """Label and confidence of every student view; ``ignore_index`` on padding."""
        recipe, num_weak = inputs.get("mix"), len(inputs["unsup_teacher"])
        if partner is None:
            partner = belief
        elif len(belief.label_NHW) < num_weak:
            belief = partner = Belief.concatenate(belief, partner)
        valid = inputs["valid"]
        if recipe is None:
            repeats = (self.num_views, 1, 1)
            confidence, label, valid = (t.repeat(repeats) for t in (*belief, valid))
        else:
            confidence, label = (recipe.apply(a, b) for a, b in zip(belief, partner))
            valid = recipe.apply(valid)
        return Belief(confidence, torch.where(valid, label, self.ignore_index))

    def _unsupervised(self, inputs: Inputs, views: Views, belief: Belief, target: Belief) -> Losses:
        """The weighted unsupervised losses."""
        weight = self.semi_train_cfg["unsup_weight"] * self.rampup()
        return {"unsup.loss_strong": weight * self._strong_loss(views, target)}

    def _strong_loss(self, views: Views, target: Belief) -> Tensor:
        """Mean over the student views of each one's loss."""
        parts = [part.chunk(self.num_views) for part in (views.strong_NCHW, *target)]
        return torch.stack([self._confident_loss(*view) for view in zip(*parts)]).mean()

    def _confident_loss(self, logits_NCHW: Tensor, confidence: Tensor, label: Tensor) -> Tensor:
        confident = confidence >= self.semi_train_cfg["threshold"]
        return cross_entropy(logits_NCHW, label, self.ignore_index, weight_NHW=confident)
