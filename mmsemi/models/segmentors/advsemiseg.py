# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""AdvSemiSeg: a discriminator as a loss, and as a judge of pseudo-labels.

Hung, Tsai, Liou, Lin, Yang, *Adversarial Learning for Semi-Supervised Semantic Segmentation*, BMVC
2018, https://arxiv.org/abs/1802.07934.

A fully convolutional discriminator says for each pixel whether a class map is ground truth. Its
verdict is a loss for the segmentation network, and where it is convinced by the map of an unlabelled
image, the likeliest class is the label of that pixel.

Modes: without unlabelled images in the batch the method is the paper's "adversarial" one, on all or
some of the labels; ``type='Supervised'`` is its baseline.
"""

from __future__ import annotations

import torch
from mmseg.registry import MODELS
from torch import Tensor

from ..losses import (
    cross_entropy,
    full_precision,
    masked_bce_with_logits,
    one_hot_maps,
    trusted_labels,
)
from .adversarial import AdversarialSegmentor, call_frozen
from .base import Inputs, Losses, Samples
from .network import (
    confidence_and_labels,
    forward_network,
    pseudo_label_visuals,
    stack_masks,
)


@MODELS.register_module()
class AdvSemiSeg(AdversarialSegmentor):
    """Adversarial learning with a pixel discriminator.

    Needs ``optim_wrapper.constructor='JointOptimWrapperConstructor'`` with an optimiser for
    ``discriminator``.

    ``semi_train_cfg``:

    - ``adv_weight`` (0.01): adversarial loss on labelled images.
    - ``unsup_adv_weight`` (0.001): the same on unlabelled images.
    - ``unsup_weight`` (0.1): cross-entropy to the trusted labels.
    - ``threshold`` (0.2): least probability of "ground truth" that makes a pixel trusted (>=).
    - ``unsup_start`` (5000), ``unsup_adv_start`` (0): iterations from which the two terms on
      unlabelled images count.
    - ``judge_unlabeled`` (True): the discriminator learns from maps of unlabelled images, too.
    - ``ignore_padding`` (True): padding of unlabelled images counts nowhere; the released code
      counts it.
    """

    train_cfg_defaults = dict(
        adv_weight=0.01,
        unsup_adv_weight=0.001,
        unsup_weight=0.1,
        threshold=0.2,
        unsup_start=5000,
        unsup_adv_start=0,
        judge_unlabeled=True,
        ignore_padding=True,
    )

    def loss(self, inputs: Inputs, data_samples: Samples) -> Losses:
        """One iteration of section 3 of the paper.

        Returns:
            ``sup.*`` without the accuracy; ``adv.loss_labeled``, ``adv.loss_unlabeled``, ``unsup.loss_trusted``:
            weighted losses of the student; ``unsup.trusted``: share of trusted pixels;
            ``disc.loss``, ``disc.acc``: loss and accuracy (%) of the discriminator.
        """
        self._check_training_inputs(inputs)
        cfg = self.semi_train_cfg
        unlabeled = None
        if "unsup_student" in inputs:  # first, as published: it is in the running statistics
            unlabeled = forward_network(self.student, inputs["unsup_student"]).logits_NCHW
        labeled = forward_network(self.student, inputs["sup"])
        losses = self.supervise("sup", self.student, labeled, data_samples["sup"])
        # The log holds eight values; this one says little that the loss beside it does not.
        losses.pop("sup.decode.acc_seg", None)
        labels = stack_masks(data_samples["sup"])
        fakes, valid = [self._probabilities(labeled.logits_NCHW)], [labels != self.ignore_index]
        verdict = self._judge(fakes[0], frozen=True)
        losses["adv.loss_labeled"] = cfg["adv_weight"] * masked_bce_with_logits(
            verdict, is_real=True, valid=valid[0]
        )
        if unlabeled is not None:
            unlabeled_losses, maps, own_valid = self._unlabeled_losses(unlabeled, inputs)
            losses.update(unlabeled_losses)
            if cfg["judge_unlabeled"]:
                fakes.append(maps)
                valid.append(own_valid)
        losses.update(self._discriminator_losses(fakes, valid, self._real_labels(data_samples)))
        return losses

    def _judge(self, maps_NCHW: Tensor, frozen: bool = False) -> Tensor:
        """The discriminator's logits (N, 1, H, W), at the size of the maps."""
        net = self.discriminator
        logits = call_frozen(net, maps_NCHW) if frozen else net(maps_NCHW)
        return self._resize(full_precision(logits), tuple(maps_NCHW.shape[-2:]))

    def _unlabeled_losses(self, logits: Tensor, inputs: Inputs) -> tuple[Losses, Tensor, Tensor]:
        """Losses of the student on unlabelled images, its maps of them, and what is valid there."""
        cfg = self.semi_train_cfg
        maps, valid = self._probabilities(logits), self._valid_unlabeled(inputs)
        verdict = self._judge(maps, frozen=True)
        target = trusted_labels(logits, verdict, cfg["threshold"], self.ignore_index, valid)
        adversarial = masked_bce_with_logits(verdict, is_real=True, valid=valid)
        trusted = cross_entropy(logits, target, self.ignore_index)
        share = (target != self.ignore_index).sum() / valid.sum().clamp(min=1)
        if self.keep_visuals:
            self.visuals = pseudo_label_visuals(inputs, *confidence_and_labels(logits), target)
        losses = {
            "adv.loss_unlabeled": cfg["unsup_adv_weight"]
            * self._started("unsup_adv_start")
            * adversarial,
            "unsup.loss_trusted": cfg["unsup_weight"] * self._started("unsup_start") * trusted,
            "unsup.trusted": share,
        }
        return losses, maps, valid

    def _discriminator_losses(
        self, fakes: list[Tensor], valid: list[Tensor], labels: Tensor
    ) -> Losses:
        """Half the mean loss of all fakes and half that of the ground truth."""
        one_hot = one_hot_maps(labels, self.out_channels, self.ignore_index)
        real = self._judge(one_hot.to(fakes[0].dtype))
        fake = self._judge(torch.cat(fakes).detach())
        real_valid, fake_valid = labels != self.ignore_index, torch.cat(valid)
        loss = masked_bce_with_logits(fake, is_real=False, valid=fake_valid)
        loss = loss + masked_bce_with_logits(real, is_real=True, valid=real_valid)
        right = ((real[:, 0] > 0) & real_valid).sum() + ((fake[:, 0] <= 0) & fake_valid).sum()
        counted = (real_valid.sum() + fake_valid.sum()).clamp(min=1)
        return {"disc.loss": 0.5 * loss, "disc.acc": 100 * right / counted}
