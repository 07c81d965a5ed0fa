# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""MLMT: a multi-label image classifier trained as a mean teacher.

Mittal, Tatarchenko, Brox, *Semi-supervised semantic segmentation with high- and low-level
consistency*, TPAMI 2021, https://arxiv.org/abs/1908.05724. Its scores switch off classes that a
segmentor sees and the image does not show
(:class:`~mmsemi.evaluation.ImageLevelGate`).

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

import torch
from mmengine.model import BaseModel
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor

from ..losses import cosine_consistency, late_linear_weight, multilabel_bce
from ..networks import Inputs, Losses, SemiNetworks

Samples = dict[str, list[SegDataSample]]


@MODELS.register_module()
class MLMTClassifier(SemiNetworks, BaseModel):
    """Student and averaged teacher that score every class of an image.

    Labelled samples need ``image_labels``: put
    :class:`~mmsemi.datasets.transforms.AddImageLabels` into their pipeline. The preprocessor's
    ``strong`` makes the student's view. A batch without unlabelled images trains without
    consistency.

    ``semi_train_cfg``:

    - ``epoch_iters``: iterations of one pass over the labelled images, rounded up; no default.
    - ``epochs`` (100), ``start_epoch`` (10), ``consistency_weight`` (1): the weight is 0 up to epoch
      10 (from 0), then 2/100 more with each epoch until it is 1.
    - ``momentum`` (0.001): weight of the new value in the average, 1 - decay, at least 1/(t + 1) at
      optimiser step t from 1.
    - ``teacher_mode`` (``'train'``): batch statistics for the teacher, or ``'eval'``.
    - ``buffers`` (``'keep'``): the teacher's batch-norm statistics are its own, or ``'copy'``,
      ``'ema'``; see :class:`~mmsemi.engine.hooks.MeanTeacherHook`.

    ``semi_test_cfg``: ``predict_on`` ``'teacher'`` (published) or ``'student'``.

    Args:
        classifier: Config of an mmpretrain classifier that gives one logit a class, e.g. an
            ``ImageClassifier`` with ``GlobalAveragePooling`` and ``MultiLabelLinearClsHead``. Types
            in it are looked up in mmpretrain first.
        data_preprocessor: Config of a :class:`SemiSegDataPreProcessor`.
        semi_train_cfg: See above.
        semi_test_cfg: See above.
        init_cfg: Initialisation on top of the classifier's own.

    Raises:
        ValueError: A setting is unknown, missing or out of its range, or the preprocessor mixes
            images.
        TypeError: The classifier's head has no number of classes.
    """

    train_cfg_defaults = dict(
        epoch_iters=None,
        epochs=100,
        start_epoch=10,
        consistency_weight=1.0,
        momentum=0.001,
        teacher_mode="train",
        buffers="keep",
    )
    has_teacher = True
    network_setting = "model.classifier"
    classes_setting = "model.classifier.head.num_classes"

    def __init__(
        self,
        classifier: dict,
        data_preprocessor: dict | None = None,
        semi_train_cfg: dict | None = None,
        semi_test_cfg: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(data_preprocessor=data_preprocessor, init_cfg=init_cfg)
        classifier = {"_scope_": "mmpretrain", **copy.deepcopy(classifier)}
        self._set_up(classifier, semi_train_cfg, semi_test_cfg)
        if not isinstance(getattr(self.student.head, "num_classes", None), int):
            raise TypeError(
                f"{type(self.student.head).__name__} has no num_classes: set model.classifier.head="
                "dict(type='MultiLabelLinearClsHead', num_classes=..., in_channels=...)"
            )
        self._check_teacher_statistics()
        cfg = self.semi_train_cfg
        if not isinstance(cfg["epoch_iters"], int) or cfg["epoch_iters"] < 1 or cfg["epochs"] < 1:
            raise ValueError(
                f"MLMTClassifier.semi_train_cfg: epoch_iters={cfg['epoch_iters']}, epochs="
                f"{cfg['epochs']}: set epoch_iters to labelled images / labelled images in a batch, "
                "rounded up (VOC 1/8: 1322 / 16 -> 83), and both to at least 1"
            )
        if getattr(self.data_preprocessor, "mix", None) is not None:
            raise ValueError(
                "MLMTClassifier compares two views of one image, a mixed view shows two images: "
                "remove data_preprocessor.mix"
            )

    @property
    def num_classes(self) -> int:
        """Classes that the classifier scores."""
        return self.network().head.num_classes

    def required_hooks(self) -> list[dict]:
        """The average, as published or as the settings ask for."""
        cfg = self.semi_train_cfg
        return [
            dict(
                type="MeanTeacherHook",
                momentum=cfg["momentum"],
                buffers=cfg["buffers"],
                warmup=True,
                warmup_start=1,
            )
        ]

    def consistency_weight(self) -> float:
        """Weight of the consistency in the current epoch."""
        cfg = self.semi_train_cfg
        epoch = self.iteration() // cfg["epoch_iters"]
        return late_linear_weight(
            epoch, cfg["epochs"], cfg["start_epoch"], cfg["consistency_weight"]
        )

    def forward(
        self,
        inputs: Inputs | Tensor,
        data_samples: Samples | list[SegDataSample] | None = None,
        mode: str = "tensor",
    ) -> Losses | list[SegDataSample] | Tensor:
        """mmengine's entry: ``'loss'``, ``'predict'``, or ``'tensor'`` for the logits (N, C)."""
        if mode == "loss":
            return self.loss(inputs, data_samples)
        if mode == "predict":
            return self.predict(inputs, data_samples)
        if mode == "tensor":
            return self.network()(inputs)
        raise ValueError(f"mode={mode!r} is none of 'loss', 'predict', 'tensor'")

    def loss(self, inputs: Inputs, data_samples: Samples) -> Losses:
        """One iteration.

        Args:
            inputs: Branches of :class:`SemiSegDataPreProcessor`.
            data_samples: Samples of each branch; those of ``sup`` carry ``image_labels``.

        Returns:
            ``sup.loss_cls``: cross-entropy of the labelled images; ``unsup.loss_consistency``: the
            weighted distance to the teacher; ``unsup.distance``: the same without its weight.
        """
        self._check_training_inputs(inputs)
        target, known = self._targets(data_samples["sup"])
        losses = {"sup.loss_cls": multilabel_bce(self.student(inputs["sup"]), target, known)}
        if self.teacher.training:
            with torch.no_grad():
                self.teacher(inputs["sup"])
        if "unsup_teacher" in inputs:
            with torch.no_grad():
                belief = self.teacher(inputs["unsup_teacher"])
            distance = cosine_consistency(self.student(inputs["unsup_student"]), belief)
            losses["unsup.loss_consistency"] = self.consistency_weight() * distance
            losses["unsup.distance"] = distance.detach()
        return losses

    def _targets(self, samples: list[SegDataSample]) -> tuple[Tensor, Tensor]:
        """Classes of each image as 0 and 1 (N, C), and whether the image has any label (N,)."""
        target_NC = torch.zeros(len(samples), self.num_classes)
        for row, sample in zip(target_NC, samples):
            labels = sample.metainfo.get("image_labels")
            path = sample.metainfo.get("img_path")
            if labels is None:
                raise ValueError(
                    f"labelled image '{path}' came without image_labels: put "
                    "dict(type='AddImageLabels') behind LoadAnnotations and end the labelled "
                    "pipeline with PackSemiInputs"
                )
            if max(labels, default=0) >= self.num_classes:
                raise ValueError(
                    f"labelled image '{path}' has the class {max(labels)}, the classifier has "
                    f"{self.num_classes} classes: set {self.classes_setting}"
                )
            row[list(labels)] = 1
        # Known before the batch is sent: an image whose pixels are all ignored has no class at all.
        known_N = target_NC.any(1)
        device = self.data_preprocessor.device
        return target_NC.to(device, non_blocking=True), known_N.to(device, non_blocking=True)

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
            sample.set_metainfo(dict(network=str(self.semi_test_cfg["predict_on"])))
        return data_samples
