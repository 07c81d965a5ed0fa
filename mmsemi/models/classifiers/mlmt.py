# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""MLMT: a multi-label image classifier trained as a mean teacher.

Mittal, Tatarchenko, Brox, *Semi-supervised semantic segmentation with high- and low-level
consistency*, TPAMI 2021, https://arxiv.org/abs/1908.05724. Its scores switch off classes that a
segmentor sees and the image does not show
(:class:`~mmsemi.evaluation.ImageLevelGate`). Equations, known answers, and what we do differently:
docs/methods/mlmt.md.

Decisions:

- One forward per image stream and network, as released: labelled, weak and strong images have batch
  statistics of their own. A teacher in train mode also sees the labelled images, only for its
  running statistics.
- The consistency is computed from the first iteration on and weighted by 0 until it starts: memory
  and batch-norm statistics do not change when it does.
- The teacher starts as a copy of the student (released: with another random last layer).
- The loss divides by images and classes; the loss module of mmpretrain's head is not used.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch
from mmengine.model import BaseModel
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor

from ...errors import ConfigError
from ...structures import SemiBatch
from ..ema import EMATeacher
from ..losses import cosine_consistency, late_linear_weight, multilabel_bce
from ..semi_model import Losses, SemiModel
from ..settings import ViewSettings, setting
from .image_targets import image_targets


@dataclass(frozen=True)
class MLMTClassifierSettings(ViewSettings):
    """Settings of :class:`MLMTClassifier`."""

    predict_on: str | None = setting("teacher", "`'teacher'` (published) or `'student'`")
    epoch_iters: int | None = setting(
        None, "iterations of one pass over the labelled images, rounded up; must be given", low=1
    )
    epochs: int = setting(
        100,
        "E: the weight of the consistency is 0 up to `start_epoch` (from 0), then 2/E more with each "
        "epoch until it is `consistency_weight`",
        low=1,
    )
    start_epoch: int = setting(10, "last epoch without consistency; -1: there is none", low=-1)
    consistency_weight: float = setting(1.0, "largest weight of the consistency", low=0)
    momentum: float = setting(
        0.001,
        "weight of the new value in the average, 1 - decay, at least 1/(t + 1) at optimiser step t "
        "from 1",
        low=0,
        high=1,
    )
    teacher_mode: str = setting(
        "train", "batch statistics for the teacher, or `'eval'`", choices=("train", "eval")
    )
    buffers: str = setting(
        "keep",
        "the teacher's batch-norm statistics are its own, or the student's (`'copy'`), or an average "
        "(`'ema'`)",
        choices=("keep", "copy", "ema"),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self.refuse_unused("class_weight_power", reason="it learns from images, not from pixels")
        if self.epoch_iters is None:
            self.refuse(
                "epoch_iters",
                "set it to labelled images / labelled images in a batch, rounded up (VOC 1/8: "
                "1322 / 16 -> 83)",
            )


@MODELS.register_module()
class MLMTClassifier(SemiModel, BaseModel):
    """Student and averaged teacher that score every class of an image.

    Labelled samples need ``image_labels``: put
    :class:`~mmsemi.datasets.transforms.AddImageLabels` into their pipeline. A batch without unlabelled
    images trains without consistency.

    Args:
        classifier: Config of an mmpretrain classifier that gives one logit a class, e.g. an
            ``ImageClassifier`` with ``GlobalAveragePooling`` and ``MultiLabelLinearClsHead``. Types
            in it are looked up in mmpretrain first.
        data_preprocessor: Config of a :class:`SemiSegDataPreProcessor`.
        init_cfg: Initialisation on top of the classifier's own.
        settings: See :class:`MLMTClassifierSettings`.

    Raises:
        ConfigError: A setting is unknown, missing or out of its range, or the classifier's head has no
            number of classes.
    """

    Settings = MLMTClassifierSettings
    settings: MLMTClassifierSettings
    needs_unlabeled = False
    network_setting = "model.classifier"
    classes_setting = "model.classifier.head.num_classes"

    def __init__(
        self,
        classifier: dict,
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(data_preprocessor=data_preprocessor, init_cfg=init_cfg)
        classifier = {"_scope_": "mmpretrain", **copy.deepcopy(classifier)}
        self._set_up(classifier, settings)
        if not isinstance(getattr(self.student.head, "num_classes", None), int):
            raise ConfigError(
                f"{type(self.student.head).__name__} has no num_classes: set model.classifier.head="
                "dict(type='MultiLabelLinearClsHead', num_classes=..., in_channels=...)"
            )

    def build_networks(self, network: dict) -> None:
        """Student and teacher."""
        super().build_networks(network)
        cfg = self.settings
        self.teacher = EMATeacher(
            self.student,
            cfg.momentum,
            warmup=True,
            warmup_start=1,
            buffers=cfg.buffers,
            mode=cfg.teacher_mode,
        )

    @property
    def num_classes(self) -> int:
        """Classes that the classifier scores."""
        return self.network().head.num_classes

    def consistency_weight(self) -> float:
        """Weight of the consistency in the current epoch."""
        cfg = self.settings
        epoch = self.iteration() // cfg.epoch_iters
        return late_linear_weight(epoch, cfg.epochs, cfg.start_epoch, cfg.consistency_weight)

    def forward(
        self,
        inputs: SemiBatch | Tensor,
        data_samples: list[SegDataSample] | None = None,
        mode: str = "tensor",
    ) -> Losses | list[SegDataSample] | Tensor:
        """mmengine's entry: ``'loss'``, ``'predict'``, or ``'tensor'`` for the logits (N, C)."""
        if mode == "loss":
            self.check_batch(inputs)
            return self.loss(inputs)
        if mode == "predict":
            return self.predict(inputs, data_samples)
        if mode == "tensor":
            return self.network()(inputs)
        raise ValueError(f"mode={mode!r} is none of 'loss', 'predict', 'tensor'")

    def loss(self, batch: SemiBatch) -> Losses:
        """One iteration.

        Args:
            batch: Its labelled samples carry ``image_labels``.

        Returns:
            ``sup.loss_cls``: cross-entropy of the labelled images; ``unsup.loss_consistency``: the
            weighted distance to the teacher; ``unsup.distance``: the same without its weight.
        """
        x, u = batch.labeled.pixels_NCHW, batch.unlabeled
        target, known = image_targets(batch.labeled.samples, self.num_classes, x.device)
        losses = {"sup.loss_cls": multilabel_bce(self.student(x), target, known)}
        with torch.no_grad():
            if self.teacher.training:
                self.teacher(x)
            teacher_logits = None if u is None else self.teacher(u.pixels_NCHW)
        if u is not None:
            view = self.strong_view(u, batch)
            with self.strong_statistics(self.student):
                student_logits = self.student(view)
            distance = cosine_consistency(student_logits, teacher_logits)
            losses["unsup.loss_consistency"] = self.consistency_weight() * distance
            losses["unsup.distance"] = distance.detach()
        return losses

    def predict(
        self, inputs: Tensor, data_samples: list[SegDataSample] | None = None
    ) -> list[SegDataSample]:
        """Score images with the network of ``predict_on``.

        Returns:
            The samples with ``pred_scores`` (C,), float32 in [0, 1], and the metainfo ``network``.
        """
        scores_NC = self.network()(inputs).float().sigmoid()
        data_samples = data_samples or [SegDataSample() for _ in scores_NC]
        for sample, scores in zip(data_samples, scores_NC):
            sample.set_data(dict(pred_scores=scores))
            sample.set_metainfo(dict(network=str(self.predict_on)))
        return data_samples
