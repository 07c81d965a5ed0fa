# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""The frame of every semi-supervised method around an unchanged mmseg segmentor.

Decisions:

- One batch, one ``forward(mode='loss')``, one dict of losses, one backward: stock train step, DDP,
  AMP and accumulation work unchanged.
- To mmseg's tools the model looks like the network that predicts (``predict_on``): it proxies
  ``decode_head``, ``backbone``, ``num_classes``, ``out_channels``, ``align_corners``, ``test_cfg``.
- A plain mmseg checkpoint, or one of another method, loads into every network; a checkpoint that
  matches nothing is an error instead of silent random weights.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from mmengine.config import ConfigDict
from mmseg.models import BaseSegmentor
from mmseg.structures import SegDataSample
from mmseg.utils import add_prefix
from torch import Tensor, nn

from ..losses import sigmoid_rampup
from ..networks import Inputs, Losses, SemiNetworks
from ..preprocessor import merge_preprocessors
from .network import Outputs, check_per_pixel_logits, forward_network, supervised_losses

Samples = dict[str, list[SegDataSample]]


class SemiSegmentor(SemiNetworks, BaseSegmentor):
    """Base of all methods: networks, checked settings, the four-step loss template, prediction.

    Args:
        segmentor: Config of any mmseg segmentor with per-pixel logits, unchanged.
        data_preprocessor: Config of a :class:`SemiSegDataPreProcessor`; without a ``type`` it is
            merged into the one inside ``segmentor``, e.g. ``dict(mix=dict(type='CutMix'))``.
        semi_train_cfg: Settings of the method, see :attr:`train_cfg_defaults`.
        semi_test_cfg: ``predict_on``, one of :attr:`network_names`.
        pretrained: Unused; mmseg's ``init_model`` sets it.
        train_cfg: Unused; mmseg's ``init_model`` sets it.
        test_cfg: Replaces the segmentor's own ``test_cfg``.
        init_cfg: Initialisation on top of the segmentor's own.

    Raises:
        ValueError: A key of ``semi_train_cfg`` or ``semi_test_cfg`` is unknown, or ``predict_on``
            names no network.
        TypeError: The segmentor gives no per-pixel logits.
    """

    #: Set by PseudoLabelVisHook for the iterations that it shows: ``loss`` then fills
    #: :attr:`visuals`, see :func:`~mmsemi.models.segmentors.network.pseudo_label_visuals`.
    keep_visuals = False
    visuals: dict[str, Tensor] | None = None

    def __init__(
        self,
        segmentor: dict,
        data_preprocessor: dict | None = None,
        semi_train_cfg: dict | None = None,
        semi_test_cfg: dict | None = None,
        pretrained: str | None = None,
        train_cfg: dict | None = None,
        test_cfg: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        # mmseg reads settings as attributes, which plain dictionaries do not have.
        segmentor = ConfigDict(copy.deepcopy(segmentor))
        check_per_pixel_logits(segmentor)
        data_preprocessor = merge_preprocessors(
            segmentor.pop("data_preprocessor", None), data_preprocessor
        )
        super().__init__(data_preprocessor=data_preprocessor, init_cfg=init_cfg)
        if test_cfg is not None:
            segmentor.test_cfg = test_cfg
        self._set_up(segmentor, semi_train_cfg, semi_test_cfg)

    # ---------------------------------------------------------------- the network that predicts

    @property
    def backbone(self) -> nn.Module:
        return self.network().backbone

    @property
    def decode_head(self) -> nn.Module:
        return self.network().decode_head

    @property
    def num_classes(self) -> int:
        return self.network().num_classes

    @property
    def out_channels(self) -> int:
        return self.network().out_channels

    @property
    def align_corners(self) -> bool:
        return self.network().align_corners

    @property
    def test_cfg(self) -> Any:
        return self.network().test_cfg

    @property
    def ignore_index(self) -> int:
        """Label value without a class, that of the decode head."""
        head = self.network().decode_head
        return (head[-1] if isinstance(head, nn.ModuleList) else head).ignore_index

    # ---------------------------------------------------------------- training

    def loss(self, inputs: Inputs, data_samples: Samples) -> Losses:
        """The template: supervised loss, pseudo-labels, their projection, unsupervised loss.

        Args:
            inputs: Branches of :class:`SemiSegDataPreProcessor`.
            data_samples: Samples of each branch.

        Returns:
            Losses (keys with ``loss``) and 0-d statistics (keys without).
        """
        self._check_training_inputs(inputs)
        losses = self.loss_by_gt(inputs, data_samples)
        pseudo_labels = self.get_pseudo_labels(inputs, data_samples)
        targets = self.project_pseudo_labels(pseudo_labels, inputs)
        losses.update(self.loss_by_pseudo(inputs, targets))
        return losses

    def _unlabeled(self, inputs: Inputs) -> Tensor:
        if "unsup_teacher" not in inputs:
            raise ValueError(
                f"{type(self).__name__} got no unlabelled image: give the dataset an unlabelled "
                "source and set sampler.num_per_source.unlabeled to at least 1"
            )
        return inputs["unsup_teacher"]

    def supervise(
        self,
        name: str,
        net: nn.Module,
        outputs: Outputs,
        samples: list[SegDataSample],
        weight: float = 1.0,
    ) -> Losses:
        """A network's own losses on labelled images, times ``weight``, with a prefix."""
        losses = supervised_losses(net, outputs, samples)
        if weight != 1:
            losses = {key: v * weight if "loss" in key else v for key, v in losses.items()}
        return add_prefix(losses, name)

    def rampup(self) -> float:
        """Factor of the unsupervised weight, exp(-5 (1 - t/T)^2) with T = ``rampup_iters``."""
        return sigmoid_rampup(self.iteration(), self.semi_train_cfg["rampup_iters"])

    def loss_by_gt(self, inputs: Inputs, data_samples: Samples) -> Losses:
        """Step 1: the student's own losses on the labelled images."""
        outputs = forward_network(self.student, inputs["sup"])
        return self.supervise("sup", self.student, outputs, data_samples["sup"])

    def get_pseudo_labels(self, inputs: Inputs, data_samples: Samples) -> Any:
        """Step 2: what the method believes about the unlabelled images."""
        return None

    def project_pseudo_labels(self, pseudo_labels: Any, inputs: Inputs) -> Any:
        """Step 3: pseudo-labels in the geometry of the student's view (mixing)."""
        return pseudo_labels

    def loss_by_pseudo(self, inputs: Inputs, targets: Any) -> Losses:
        """Step 4: the unsupervised loss."""
        return {}

    # ---------------------------------------------------------------- prediction

    def extract_feat(self, inputs: Tensor) -> Any:
        """Features of the network that predicts."""
        return self.network().extract_feat(inputs)

    def encode_decode(self, inputs: Tensor, batch_img_metas: list[dict]) -> Tensor:
        """Logits (N, C, H, W) of the network that predicts."""
        return self._ensemble(lambda net: net.encode_decode(inputs, batch_img_metas))

    def _forward(self, inputs: Tensor, data_samples: list[SegDataSample] | None = None) -> Tensor:
        return self._ensemble(lambda net: net._forward(inputs, data_samples))

    def _ensemble(self, run: Any) -> Tensor:
        if self.semi_test_cfg["predict_on"] != "ensemble":
            return run(self.network())
        return mean_logits([run(net) for net in self.networks()])

    def predict(
        self, inputs: Tensor, data_samples: list[SegDataSample] | None = None
    ) -> list[SegDataSample]:
        """Segment images with the network of ``predict_on``, by its own ``test_cfg``.

        ``'ensemble'`` averages the networks' probabilities; its ``seg_logits`` are the logarithm of
        that mean (for one output channel: the mean probability, as mmseg stores it).
        """
        if self.semi_test_cfg["predict_on"] != "ensemble":
            return self.network().predict(inputs, data_samples)
        logits: list[list[Tensor]] = []
        for net in self.networks():
            results = net.predict(inputs, data_samples)
            logits.append([sample.seg_logits.data for sample in results])
        for sample, *parts in zip(results, *logits):
            if parts[0].shape[0] == 1:  # already probabilities
                mean = torch.stack(parts).mean(0)
                label = (mean > self.decode_head.threshold).to(mean)
            else:
                mean = mean_logits([part[None] for part in parts])[0]
                label = mean.argmax(0, keepdim=True)
            sample.seg_logits.data, sample.pred_sem_seg.data = mean, label
        return results


def mean_logits(logits: list[Tensor]) -> Tensor:
    """Logits (N, C, H, W) whose softmax is the mean of the given logits' softmax."""
    stacked = torch.stack([one.float().log_softmax(1) for one in logits])
    return stacked.logsumexp(0) - torch.log(torch.tensor(float(len(logits))))
