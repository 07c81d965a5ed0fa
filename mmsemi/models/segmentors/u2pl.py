# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""U2PL: pixels that the teacher is unsure of are labels of nothing, but negatives of many classes.

Wang, Wang, Shen, Fei, Li, Jin, Wu, Zhao, Le, *Semi-Supervised Semantic Segmentation Using Unreliable
Pseudo-Labels*, CVPR 2022, https://arxiv.org/abs/2203.03884. Equations, known answers, and what we do
differently: docs/methods/u2pl.md.

The entropy of an EMA teacher splits the unlabelled pixels of a step. Reliable ones have its hard labels.
An unreliable one wavers between a few classes and is certainly of no other: its feature becomes a
negative of the classes that it ranks low, in a memory bank of each class. A contrastive loss pulls the
student's features of sure pixels to the centre of their class, and away from the negatives of that class.

Decisions:

- Labels and entropies come from two passes of the teacher, as released: in eval mode on the images, and in
  train mode on what the student sees, by which the teacher's own batch-norm statistics follow.
- The contrastive loss is the paper's. The released code has another one (``released_contrast``), in which
  labelled pixels are never negatives and a class is compared with the bank of another one.
- A step takes at most ``num_keys`` negatives of a class, drawn at random: all of them would fill the
  bank several times over.
- Padding has no label, and no part in the percentiles.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from mmseg.registry import MODELS
from torch import Tensor, nn

from ...structures import SemiBatch
from ..class_contrast import ClassContrast, ClassContrastSettings, Look
from ..ema import EMATeacher
from ..features import RepresentationHead, forward_with_features
from ..forward import eval_mode, forward
from ..losses import entropy_map, masked_percentiles, reliable_cross_entropy, unreliable_percent
from ..settings import BatchTeacherSettings, MixSettings, setting
from .base import Losses, SemiSegmentor


@dataclass(frozen=True)
class U2PLSettings(MixSettings, BatchTeacherSettings, ClassContrastSettings):
    """Settings of :class:`U2PL`."""

    unsup_weight: float = setting(1.0, "weight of the cross-entropy to reliable labels", low=0)
    contrast_weight: float = setting(0.1, "lambda_c, weight of the contrastive loss", low=0)
    rampup_iters: int = setting(
        0, "iterations over which `unsup_weight` grows as exp(-5 (1 - t/T)^2)", low=0
    )
    warmup_iters: int = setting(
        0,
        "first iterations, which train on labels alone; published: VOC one pass over the unlabelled "
        "images, Cityscapes 0",
        low=0,
    )
    unreliable_percent: float = setting(
        20.0,
        "alpha_0, percent of the pixels that are unreliable at the beginning; it falls to 0 with the "
        "length of the run",
        low=0,
        high=50,
    )
    percent_iters: int = setting(
        1,
        "iterations through which that percentage stays; published: one pass over the unlabelled "
        "images",
        low=1,
    )
    total_iters: int | None = setting(
        None, "iterations until it is 0; None: `train_cfg.max_iters`", low=1
    )
    labeled_forward: str = setting(
        "strong",
        "the labelled images share the forward, and thereby the batch-norm statistics, of the mixed "
        "views, as released; `'alone'`: they have a forward of their own",
        choices=("strong", "alone"),
    )
    ignore_padding: bool = setting(
        True, "padding has no label, and no part in the percentiles; as released it does"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.labeled_forward == "strong":
            self.refuse_shared_forward("labeled_forward", "'alone'")


@MODELS.register_module()
class U2PL(SemiSegmentor):
    """U2PL: reliable pixels have labels, unreliable ones are negatives.

    E.g. ``mix=dict(type='HalfCutMix')``.
    """

    Settings = U2PLSettings
    settings: U2PLSettings

    def build_networks(self, network: dict) -> None:
        """The student with a representation head that only training needs, and the teacher of both."""
        super().build_networks(network)
        cfg = self.settings
        self.representation = RepresentationHead.of(self.student, cfg.representation_channels)
        rules = dict(warmup=True, buffers=cfg.buffers, mode=cfg.teacher_mode)
        self.teacher = EMATeacher(self.student, cfg.momentum, head=self.representation, **rules)
        self.class_contrast = ClassContrast(self.student, cfg)
        self.memory_bank = self.class_contrast.bank
        self._has_started = False

    #: A share of the pixels is reliable, all of them at the end.
    keeps_by_threshold = False

    def required_hooks(self) -> list[dict]:
        """Those that keep the bank, and the representation head as it is before it is used."""
        own = [dict(type="MemoryBankHook"), dict(type="IdleParametersHook")]
        return [*super().required_hooks(), *own]

    def idle_parameters(self) -> list[nn.Parameter]:
        """Parameters that no step of this run has used yet."""
        return [] if self._has_started else list(self.representation.parameters())

    def percent(self) -> float:
        """alpha, percent of the pixels that are unreliable now."""
        cfg, now = self.settings, self.iteration()
        total = cfg.total_iters or self.max_iters("total_iters")
        return unreliable_percent(cfg.unreliable_percent, now, total, cfg.percent_iters)

    def loss(self, batch: SemiBatch) -> Losses:
        """One iteration.

        Returns:
            ``sup.*``: supervised losses; ``unsup.loss_ce``: the weighted loss of reliable pixels;
            ``unsup.loss_contrast``: the weighted contrastive loss; ``unsup.mask_ratio``: share of the
            pixels that are reliable; ``unsup.classes``: classes that the contrastive loss has anchors
            and negatives of; ``unsup.bank``: share of the bank that is filled.
        """
        cfg, student, x, weak = self.settings, self.student, batch.labeled, batch.unlabeled
        if self.iteration() < cfg.warmup_iters:
            losses = self.supervised("sup", student, forward(student, x.pixels_NCHW), x)
            # On every rank; IdleParametersHook sees that these gradients of 0 move nothing.
            nothing = 0 * sum(parameter.sum() for parameter in self.representation.parameters())
            return losses | {"unsup.loss_ce": nothing, "unsup.loss_contrast": nothing}
        if cfg.warmup_iters == self.iteration() > 0:
            self.teacher.restart(student)
        self._has_started = True

        # Labels of the images, mixed with them.
        teacher = self.teacher.module
        with eval_mode(teacher):
            pseudo = self.pseudo_labels(forward(teacher, weak.pixels_NCHW).logits_NCHW)
        views, recipe = self.mixed_views(batch, pseudo=pseudo)
        label = recipe.apply_labels(
            pseudo, batch, ignore_index=self.ignore_index, ignore_padding=cfg.ignore_padding
        ).label_NHW

        # Student and teacher look at the same; the teacher's entropy says what is reliable.
        seen = self._look(student, self.representation, x.pixels_NCHW, views)
        with torch.no_grad():
            taught = self._look(teacher, self.teacher.head, x.pixels_NCHW, views)
        valid, entropy = label != self.ignore_index, entropy_map(taught.views.logits_NCHW)
        percent = self.percent()
        low, high = masked_percentiles(entropy, valid, (percent, 100 - percent)).unbind()
        reliable = valid & (entropy < high)

        losses = self.supervised("sup", student, seen.labeled, x)
        unsupervised = reliable_cross_entropy(seen.views.logits_NCHW, label, reliable)
        losses["unsup.loss_ce"] = cfg.unsup_weight * self.rampup() * unsupervised
        true = x.labels_NHW != self.ignore_index
        contrast, losses["unsup.classes"] = self.class_contrast(
            seen,
            taught,
            torch.cat([x.labels_NHW, label]),
            torch.cat([true, valid & (entropy <= low)]),
            torch.cat([true, valid & (entropy >= high)]),
            batch.generator,
        )
        losses["unsup.loss_contrast"] = cfg.contrast_weight * contrast
        losses["unsup.mask_ratio"] = reliable.sum() / reliable.numel()
        losses["unsup.bank"] = self.memory_bank.filled
        kept = torch.where(reliable, label, self.ignore_index)
        self.show(weak, pseudo, views, kept, recipe.first)
        return losses

    def _look(self, net: nn.Module, head: nn.Module, labeled_NCHW: Tensor, views: Tensor) -> Look:
        """One pass over labelled images and views together, or one over each."""
        if self.settings.labeled_forward == "strong":
            both, features = forward_with_features(net, [labeled_NCHW, views])
            return Look(*both.split([len(labeled_NCHW), len(views)]), head(features))
        labeled, of_labeled = forward_with_features(net, labeled_NCHW)
        with self.strong_statistics(net):
            of_views, features = forward_with_features(net, views)
        return Look(labeled, of_views, head(torch.cat([of_labeled, features])))
