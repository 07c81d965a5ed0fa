# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Cross pseudo supervision, plain and with CutMix.

Chen, Yuan, Zeng, Wang, *Semi-Supervised Semantic Segmentation With Cross Pseudo Supervision*,
CVPR 2021, https://arxiv.org/abs/2106.01226. The CutMix form follows the authors' released code, its
masks French et al., BMVC 2020, https://arxiv.org/abs/1906.01916.

Two networks of one architecture but different initialisation see the same input; the argmax of each
is the target of the other, at every pixel, from the first iteration, without threshold or ramp-up.

Decisions:

- Which form runs is decided by the batch: a preprocessor with ``mix=dict(type='CutMix')`` gives the
  CutMix form.
- Train mode everywhere, also in the passes without gradient: batch statistics of the pseudo-label
  passes are used, and move the running statistics, as in the released code.
- One network forward per image stream (labelled, u0, u1, mixed), because each has batch-norm
  statistics of its own in the released code; ``joint_forward=True`` is the faster deviation.
- Labels are mixed instead of logits: argmax and per-pixel choice commute, and labels are C times
  smaller.
- One optimiser over both networks equals the two of the paper for SGD without gradient clipping.
"""

from __future__ import annotations

import torch
from mmseg.registry import MODELS
from torch import Tensor

from ..losses import cross_entropy
from .base import Inputs, Losses, Samples, SemiSegmentor
from .network import (
    confidence_and_labels,
    forward_network,
    hard_labels,
    pseudo_label_visuals,
    stack_masks,
)


@MODELS.register_module()
class CPS(SemiSegmentor):
    """Cross pseudo supervision.

    ``semi_train_cfg``:

    - ``unsup_weight`` (1.5): lambda, the weight of the cross pseudo loss. Published: VOC 1.5 plain
      and 1.0 CutMix; Cityscapes 6 plain and 5 CutMix; 0.1 with 92-732 labels.
    - ``rampup_iters`` (0): iterations over which lambda grows as exp(-5 (1 - t/T)^2). The paper has
      no ramp-up and starts from ImageNet weights; two networks that start from random weights can
      talk each other into one class before the labels have taught them anything.
    - ``joint_forward`` (False): one forward for all image streams of a network instead of one each.
      Faster, but the streams share their batch-norm statistics.
    - ``ignore_padding`` (False): leave padded borders out of the cross pseudo loss. The released
      code counts them.

    ``semi_test_cfg``: ``predict_on`` 0 (the published protocol), 1 or ``'ensemble'``.

    Example:
        >>> model = dict(
        ...     type='CPS',
        ...     segmentor=dict(type='EncoderDecoder', ...),
        ...     data_preprocessor=dict(type='SemiSegDataPreProcessor', size=(512, 512),
        ...                            mix=dict(type='CutMix')),
        ...     semi_train_cfg=dict(unsup_weight=1.0))
    """

    train_cfg_defaults = dict(
        unsup_weight=1.5, rampup_iters=0, joint_forward=False, ignore_padding=False
    )
    test_cfg_defaults = dict(predict_on=0)
    num_branches = 2

    def loss(self, inputs: Inputs, data_samples: Samples) -> Losses:
        """One iteration of the paper (sections 3.1 and 3.2).

        Returns:
            ``sup.<branch>.*``: the supervised losses of each branch; ``unsup.loss_cps``: the
            weighted cross pseudo loss of both; ``unsup.agree``: share of unlabelled pixels on which
            the branches agree.
        """
        self._check_training_inputs(inputs)
        self._unlabeled(inputs)
        if inputs.get("mix") is None:
            return self._plain_losses(inputs, data_samples)
        return self._cutmix_losses(inputs, data_samples)

    def _plain_losses(self, inputs: Inputs, data_samples: Samples) -> Losses:
        """CPS: labelled and unlabelled images, labelled ones included, teach across branches."""
        losses: Losses = {}
        logits = []
        for number, net in enumerate(self.branches):
            outputs = self._forward_streams(net, [inputs["sup"], inputs["unsup_student"]])
            losses.update(self.supervise(f"sup.{number}", net, outputs[0], data_samples["sup"]))
            logits.append(torch.cat([stream.logits_NCHW for stream in outputs]))
        labels = [hard_labels(one) for one in logits]
        if self.semi_train_cfg["ignore_padding"]:
            labeled = stack_masks(data_samples["sup"])
            valid = torch.cat([labeled != self.ignore_index, inputs["valid"]])
            labels = self._labels_where(valid, labels)
        start = len(inputs["sup"])
        losses.update(self._cross_losses(logits, labels, first_unlabeled=start))
        if self.keep_visuals:
            belief = confidence_and_labels(logits[0][start:])
            self.visuals = pseudo_label_visuals(inputs, *belief, labels[0][start:])
        return losses

    def _cutmix_losses(self, inputs: Inputs, data_samples: Samples) -> Losses:
        """CPS+CutMix: labels from the two unmixed images, mixed like the image."""
        recipe = inputs["mix"]
        weak_streams = inputs["unsup_teacher"].split(len(recipe.first))
        labels, visible_logits = [], None
        with torch.no_grad():
            for net in self.branches:
                # Only the labels stay: features of the weak views would fill the memory.
                weak = [one.logits_NCHW for one in self._forward_streams(net, weak_streams)]
                labels.append(recipe.apply(torch.cat([hard_labels(one) for one in weak])))
                if self.keep_visuals and visible_logits is None:
                    visible_logits = torch.cat(weak)
            del weak
        losses: Losses = {}
        logits = []
        for number, net in enumerate(self.branches):
            mixed, labeled = self._forward_streams(net, [inputs["unsup_student"], inputs["sup"]])
            logits.append(mixed.logits_NCHW)
            losses.update(self.supervise(f"sup.{number}", net, labeled, data_samples["sup"]))
        if self.semi_train_cfg["ignore_padding"]:
            labels = self._labels_where(recipe.apply(inputs["valid"]), labels)
        losses.update(self._cross_losses(logits, labels))
        if self.keep_visuals:
            belief = confidence_and_labels(visible_logits)
            self.visuals = pseudo_label_visuals(inputs, *belief, labels[0])
        return losses

    def _forward_streams(self, net, streams) -> list:
        """Outputs of a network on each stream, in one forward or one each."""
        if not self.semi_train_cfg["joint_forward"]:
            return [forward_network(net, stream) for stream in streams]
        sizes = [len(stream) for stream in streams]
        return forward_network(net, torch.cat(list(streams))).split(sizes)

    def _labels_where(self, valid_BHW: Tensor, labels: list[Tensor]) -> list[Tensor]:
        """Labels that are ignored outside ``valid_BHW``."""
        return [torch.where(valid_BHW, one, self.ignore_index) for one in labels]

    def _cross_losses(
        self, logits: list[Tensor], labels: list[Tensor], first_unlabeled: int = 0
    ) -> Losses:
        """Each branch against the other's labels, over the pixels of all images together."""
        loss = sum(
            cross_entropy(logits[i], labels[1 - i], ignore_index=self.ignore_index)
            for i in range(2)
        )
        weight = self.semi_train_cfg["unsup_weight"] * self.rampup()
        agree = (labels[0] == labels[1])[first_unlabeled:].float().mean()
        return {
            "unsup.loss_cps": weight * loss,
            "unsup.agree": agree,
        }
