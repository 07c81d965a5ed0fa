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
from typing import NamedTuple

import torch
from mmengine.logging import MessageHub
from mmseg.registry import MODELS
from torch import LongTensor, Tensor, nn

from ...errors import ConfigError
from ...structures import SemiBatch
from ..class_contrast import ClassContrast
from ..ema import EMATeacher
from ..features import RepresentationHead, classifier_channels, forward_with_features, nearest
from ..forward import Outputs, decode_stages, eval_mode, forward, head_logits
from ..losses import (
    class_pixels,
    entropy_map,
    full_precision,
    masked_percentiles,
    reliable_cross_entropy,
    unreliable_percent,
)
from ..memory_bank import ClassMemoryBank
from ..settings import MixSettings, setting
from .base import Losses, SemiSegmentor


@dataclass(frozen=True)
class U2PLSettings(MixSettings):
    """Settings of :class:`U2PL`."""

    unsup_weight: float = setting(1.0, "weight of the cross-entropy to reliable labels", low=0)
    contrast_weight: float = setting(
        0.1, "lambda_c, weight of the contrastive loss: the paper's", low=0
    )
    rampup_iters: int = setting(
        0,
        "iterations over which `unsup_weight` grows as exp(-5 (1 - t/T)^2); published: none",
        low=0,
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
    labeled_forward: str = setting(
        "strong",
        "the labelled images share the forward, and thereby the batch-norm statistics, of the mixed "
        "views, as released; `'alone'`: they have a forward of their own",
        choices=("strong", "alone"),
    )
    ignore_padding: bool = setting(
        True, "padding has no label, and no part in the percentiles; as released it does"
    )
    released_contrast: bool = setting(
        False,
        "the contrastive loss of the released code, see docs/methods/u2pl.md; its weight is `1.0`",
    )
    momentum: float = setting(
        0.01, "weight of the new value in the teacher's average, 1 - decay", low=0, high=1
    )
    teacher_mode: str = setting(
        "train",
        "statistics of the teacher's pass over what the student sees: of the batch, or `'eval'`",
        choices=("train", "eval"),
    )
    buffers: str = setting(
        "keep",
        "the teacher's batch-norm statistics are its own, or the student's (`'copy'`), or an average "
        "(`'ema'`)",
        choices=("keep", "copy", "ema"),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.labeled_forward == "strong":
            self.refuse_shared_forward("labeled_forward", "'alone'")
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
        cfg, head = self.settings, decode_stages(self.student)[-1]
        channels, norm_cfg = classifier_channels(self.student), getattr(head, "norm_cfg", None)
        self.representation = RepresentationHead(channels, cfg.representation_channels, norm_cfg)
        self.teacher = EMATeacher(
            self.student,
            cfg.momentum,
            warmup=True,
            buffers=cfg.buffers,
            mode=cfg.teacher_mode,
            head=self.representation,
        )
        classes = max(2, head.out_channels)
        sizes = [cfg.first_bank_size, *[cfg.bank_size] * (classes - 1)]
        self.memory_bank = ClassMemoryBank(sizes, getattr(torch, cfg.bank_dtype))
        self.class_contrast = ClassContrast(self.memory_bank, cfg)
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
        """alpha, percent of the pixels that are unreliable now.

        Raises:
            ConfigError: The length of the run is unknown.
        """
        cfg, now = self.settings, self.iteration()
        info = MessageHub.get_current_instance().runtime_info
        total = cfg.total_iters or info.get("max_iters")
        if total is None:
            raise ConfigError(
                "U2PL.total_iters=None is train_cfg.max_iters, which this loop does not tell: set it"
            )
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
        masks = (
            torch.cat([x.labels_NHW, label]),
            torch.cat([true, valid & (entropy <= low)]),
            torch.cat([true, valid & (entropy >= high)]),
        )
        contrast, losses["unsup.classes"] = self._contrast(seen, taught, masks, batch)
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

    def _contrast(
        self, seen: Look, taught: Look, masks: tuple[LongTensor, Tensor, Tensor], batch: SemiBatch
    ) -> tuple[Tensor, Tensor]:
        """The contrastive loss, and the number of classes that it has anchors and negatives of.

        Args:
            seen: By the student.
            taught: By the teacher.
            masks: Label (N, H, W), pixels of low and of high entropy, labelled images first.
            batch: Its generator is drawn from.
        """
        cfg, classes = self.settings, len(self.memory_bank.sizes)
        size_hw = seen.representation_NDhw.shape[-2:]
        logits = [head_logits(self.student, out) for out in (taught.labeled, taught.views)]
        pixels = class_pixels(
            full_precision(torch.cat(logits)).softmax(1),
            *(nearest(mask, size_hw) for mask in masks),
            len(batch.labeled),
            low_rank=min(cfg.low_rank, classes - 1),
            high_rank=min(cfg.high_rank, classes),
            threshold=cfg.threshold,
            released=cfg.released_contrast,
        )
        return self.class_contrast(
            seen.representation_NDhw, taught.representation_NDhw, pixels, batch.generator
        )
