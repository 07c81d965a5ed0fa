# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""The frame of every semi-supervised method around an unchanged mmseg segmentor.

Decisions:

- One batch, one ``forward(mode='loss')``, one dict of losses, one backward: stock train step, DDP,
  AMP and accumulation work unchanged.
- To mmseg's tools the model looks like the network that predicts (:class:`PredictingSegmentor`).
- A plain mmseg checkpoint, or one of another method, loads into every network; a checkpoint that
  matches nothing is an error instead of silent random weights.
"""

from __future__ import annotations

import copy
from typing import Any, ClassVar, NamedTuple

import torch
from mmengine.config import ConfigDict
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from mmseg.utils import add_prefix
from torch import Tensor, nn

from ...errors import ConfigError
from ...structures import SECOND_CROP, Images, PseudoLabels, SemiBatch, Shown
from ..class_balance import ClassBalance
from ..forward import (
    Outputs,
    check_losses,
    check_per_pixel_logits,
    forward,
    pseudo_labels,
    supervised_losses,
)
from ..frozen_encoder import keep_maps
from ..label_counts import LabelCounts
from ..losses import is_confident, sigmoid_rampup
from ..preprocessor import merge_preprocessors
from ..semi_model import Losses
from ..views import MixRecipe, PairedMix
from .predicting import PredictingSegmentor


class ComparedViews(NamedTuple):
    """The student's views of unlabelled images in a step that compares them with pseudo-labels.

    Attributes:
        name: What they are, as the loss is called: ``'strong'`` or ``'feature'``.
        logits_BCHW: The student's logits, view after view.
        recipe: How the images, and so their labels, were mixed.
        weight: Factor of their loss.
        num_views: Views of each image.
    """

    name: str
    logits_BCHW: Tensor
    recipe: MixRecipe
    weight: float
    num_views: int = 1


class SemiSegmentor(PredictingSegmentor):
    """Base of all methods: networks, checked settings, prediction. A method is its :meth:`loss`.

    Args:
        segmentor: Config of any mmseg segmentor with per-pixel logits, unchanged.
        data_preprocessor: Config of a :class:`SemiSegDataPreProcessor`; without a ``type`` it is
            merged into the one inside ``segmentor``.
        pretrained: Must be None, as mmseg's ``init_model`` sets it.
        train_cfg: Must be None, as mmseg's ``init_model`` sets it.
        test_cfg: Replaces the segmentor's own ``test_cfg``.
        init_cfg: Initialisation on top of the segmentor's own.
        settings: The method's settings, see :attr:`Settings`.

    Raises:
        ConfigError: A setting is unknown or wrong, ``predict_on`` names no network, or the segmentor
            gives no per-pixel logits or trains others than the method reads.
    """

    #: Whether the method compares softmax probabilities, or only trains on labels.
    compares_classes: ClassVar[bool] = True
    #: Whether it looks at pairs of crops; another method would not even flip them.
    takes_crop_pairs: ClassVar[bool] = False
    #: Set by PseudoLabelVisHook for an iteration that it shows, and filled by :meth:`show`.
    wants_to_show = False
    shown: Shown | None = None
    #: Set by DiagnosisHook, and filled by each step.
    label_counts: LabelCounts | None = None

    def __init__(
        self,
        segmentor: dict,
        data_preprocessor: dict | None = None,
        pretrained: str | None = None,
        train_cfg: dict | None = None,
        test_cfg: dict | None = None,
        init_cfg: dict | None = None,
        **settings: Any,
    ) -> None:
        for name, value in dict(pretrained=pretrained, train_cfg=train_cfg).items():
            if value is not None:
                raise ConfigError(f"model.{name}={value!r}: set model.segmentor.{name} instead")
        # mmseg reads settings as attributes, which plain dictionaries do not have.
        segmentor = ConfigDict(copy.deepcopy(segmentor))
        check_per_pixel_logits(segmentor)
        data_preprocessor = merge_preprocessors(
            segmentor.pop("data_preprocessor", None), data_preprocessor
        )
        super().__init__(data_preprocessor=data_preprocessor, init_cfg=init_cfg)
        if test_cfg is not None:
            segmentor.test_cfg = test_cfg
        self._set_up(segmentor, settings)
        for net in self.networks():
            check_losses(net, self.compares_classes)
        cfg = self.settings
        self.class_balance: ClassBalance | None = None
        if cfg.class_weight_power or getattr(cfg, "class_thresholds", False):
            self.class_balance = ClassBalance(
                max(2, self.out_channels),
                cfg.class_weight_power,
                getattr(cfg, "class_threshold_decay", 0.0),
            )
        mix = getattr(cfg, "mix", None)
        self.mix: PairedMix | None = MODELS.build(mix) if mix else None

    # ---------------------------------------------------------------- training

    def forward(
        self,
        inputs: SemiBatch | Tensor,
        data_samples: list[SegDataSample] | None = None,
        mode: str = "tensor",
    ) -> Losses | list[SegDataSample] | Tensor:
        """mmengine's entry: ``'loss'`` of a :class:`SemiBatch`, ``'predict'`` or ``'tensor'``."""
        if mode != "loss":
            return super().forward(inputs, data_samples, mode)
        self.check_batch(inputs)
        if self.class_balance is not None:
            self.class_balance.count(inputs.labeled.labels_NHW)
        with keep_maps(self.networks()):
            losses = self.loss(inputs)
        if self.label_counts is not None:
            self.label_counts.add_labeled(inputs.labeled.labels_NHW)
        return losses

    def check_batch(self, batch: Any) -> None:
        """Refuse pairs of crops, too, where the method looks at single ones."""
        super().check_batch(batch)
        if SECOND_CROP in batch.sources and not self.takes_crop_pairs:
            raise ConfigError(
                f"{type(self).__name__} looks at one crop of an image: take OverlappingCropPair out of "
                "train_dataloader.dataset.unlabeled.pipeline, and put RandomCrop and RandomFlip there"
            )

    def loss(self, batch: SemiBatch) -> Losses:
        """One training step of the method.

        Returns:
            Losses (keys with ``loss``) and at most a few 0-d statistics (keys without).
        """
        raise NotImplementedError

    def supervised(self, name: str, net: nn.Module, outputs: Outputs, labeled: Images) -> Losses:
        """A network's own losses on labelled images, with a prefix, times ``sup_weight``."""
        losses = supervised_losses(net, outputs, labeled, self.label_weights(labeled))
        weight = getattr(self.settings, "sup_weight", 1)
        if weight != 1:
            losses = {key: v * weight if "loss" in key else v for key, v in losses.items()}
        return add_prefix(losses, name)

    def label_weights(self, labeled: Images) -> Tensor | None:
        """Weight (N, H, W) of each labelled pixel by its class; None where all count alike."""
        if not self.settings.class_weight_power:
            return None
        return self.class_balance.weigh(labeled.labels_NHW)

    def thresholds(self, pseudo: PseudoLabels, images: Images) -> float | Tensor:
        """``threshold``, or that of each class (C,) with ``class_thresholds``; once a step.

        Args:
            pseudo: Pseudo-labels of the images.
            images: Unlabelled ones.
        """
        if not self.settings.class_thresholds:
            return self.settings.threshold
        return self.class_balance.thresholds(self.settings.threshold, pseudo, images.valid_NHW)

    def required_hooks(self) -> list[dict]:
        """Also the one that keeps what is known of the classes."""
        own = [] if self.class_balance is None else [dict(type="ClassBalanceHook")]
        return [*super().required_hooks(), *own]

    def rampup(self) -> float:
        """Factor of the unsupervised weight, exp(-5 (1 - t/T)^2) with T = ``rampup_iters``."""
        return sigmoid_rampup(self.iteration(), self.settings.rampup_iters)

    def pseudo_labels(self, logits_NCHW: Tensor) -> PseudoLabels:
        """Labels and confidences of logits, with what the mix needs of them."""
        return pseudo_labels(logits_NCHW, self.mix is not None and self.mix.uses_certainty)

    def forward_strong(self, net: nn.Module, views_NCHW: Tensor) -> Outputs:
        """Run a network on strong views alone, so that the setting of their statistics can be kept."""
        with self.strong_statistics(net):
            return forward(net, views_NCHW)

    def num_mixed(self, images: Images) -> int:
        """How many mixed images come of a batch; its first images are those that they start from."""
        return len(images) if self.mix is None else self.mix.num_mixed(len(images))

    def mixed_views(
        self, batch: SemiBatch, num_views: int = 1, pseudo: PseudoLabels | None = None
    ) -> tuple[Tensor, MixRecipe]:
        """Strong views of the unlabelled images, mixed if the method mixes.

        All views are drawn first, then the pairs, which they share, then the masks of each.

        Args:
            batch: The batch.
            num_views: Views of each image.
            pseudo: Pseudo-labels of all unlabelled images, which some mixes need.

        Returns:
            The views (B, C, H, W), view after view, and the recipe that gives labels and the like
            the same form.
        """
        unlabeled, labeled = batch.unlabeled, batch.labeled
        views = [self.strong_view(unlabeled, batch) for _ in range(num_views)]
        if self.mix is None and num_views == 1:
            # No copy: a frozen encoder finds the maps of these very pixels again.
            return views[0], MixRecipe.unmixed(unlabeled)
        if self.mix is None:
            recipes = [MixRecipe.unmixed(unlabeled)] * num_views
        else:
            recipes = self.mix.draw(batch, num_views, pseudo, max(2, self.out_channels))
        mixed = [r.apply(view, labeled=labeled.pixels_NCHW) for r, view in zip(recipes, views)]
        return torch.cat(mixed), MixRecipe.concatenate(recipes)

    @property
    def keeps_by_threshold(self) -> bool:
        """Whether a threshold decides which labels are kept, and keeping all is not meant."""
        return getattr(self.settings, "threshold", 0) > 0

    @property
    def is_watched(self) -> bool:
        """Whether a hook asks for the pseudo-labels of this step."""
        return self.wants_to_show or self.label_counts is not None

    def count_kept(self, target_BHW: Tensor, valid_BHW: Tensor | None = None) -> None:
        """Count the pseudo-labels that the student is trained on, if a hook asks for it.

        Args:
            target_BHW: Label of each pixel; ``ignore_index`` where the method keeps none.
            valid_BHW: False on padding; None: all pixels count.
        """
        if self.label_counts is not None:
            self.label_counts.add_kept(target_BHW, valid_BHW)

    def show(
        self,
        images: Images,
        predicted: PseudoLabels | Tensor,
        views_BCHW: Tensor,
        target_BHW: Tensor,
        first_B: Tensor | None = None,
        is_used: bool = True,
    ) -> None:
        """Count the pseudo-labels of a step, and keep them for a picture, if one is due.

        Args:
            images: Unlabelled images.
            predicted: Pseudo-labels of their weak views, or the logits that they come from.
            views_BCHW: The student's views.
            target_BHW: Label of each view; ``ignore_index`` where the method keeps none.
            first_B: The image that each view starts from; None: view i from image i.
            is_used: Whether the student is trained on them by now; others are not counted.
        """
        if is_used:
            self.count_kept(target_BHW)
        self._keep_to_show(images, predicted, views_BCHW, target_BHW, first_B)

    def show_confident(
        self,
        images: Images,
        pseudo: PseudoLabels,
        views_BCHW: Tensor,
        target: PseudoLabels,
        first_B: Tensor,
        threshold: float | Tensor,
    ) -> None:
        """The same for a method that keeps the labels of at least a threshold.

        Counted are the labels of the images, not those of the views, which may hold true labels, too.
        """
        if not self.is_watched:
            return
        labels = [
            torch.where(is_confident(one, threshold), one.label_NHW, self.ignore_index)
            for one in (pseudo, target)
        ]
        self.count_kept(labels[0], images.valid_NHW)
        self._keep_to_show(images, pseudo, views_BCHW, labels[1], first_B)

    def _keep_to_show(
        self,
        images: Images,
        predicted: PseudoLabels | Tensor,
        views_BCHW: Tensor,
        target_BHW: Tensor,
        first_B: Tensor | None,
    ) -> None:
        if not self.wants_to_show:
            return
        pseudo = pseudo_labels(predicted) if isinstance(predicted, Tensor) else predicted
        if first_B is None:
            first_B = torch.arange(len(views_BCHW))
        self.shown = Shown(images, pseudo, views_BCHW, target_BHW, first_B)
