# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""s4GAN: feature matching and self-training with an image-level discriminator.

Mittal, Tatarchenko, Brox, *Semi-Supervised Semantic Segmentation with High- and Low-Level
Consistency*, TPAMI 2021, arXiv 1908.05724, section 3. Checked against sud0301/semisup-semseg,
train_s4GAN.py, commit 586609b, where real images are rescaled by the range of another batch, and
padding of selected images is labelled.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .advsemiseg import adversarial_loss, one_hot_maps
from .blocks import cross_entropy, forward, hard_labels, supervised_loss


def with_image(maps: Tensor, images: Tensor) -> Tensor:
    """Class maps and, as further channels, their images, rescaled by the range of the batch."""
    low, high = images.aminmax()
    return torch.cat([maps, (images - low) / (high - low)], 1)


def s4gan_step(
    student: nn.Module,
    discriminator: nn.Module,
    labeled: Tensor,
    labels: Tensor,
    unlabeled: Tensor,
    valid: Tensor,
    real_images: Tensor,
    real_labels: Tensor,
    *,
    matching_weight: float = 0.1,
    unsup_weight: float = 1.0,
    threshold: float = 0.6,
    score_mode: str = "train",
    ignore_padding: bool = True,
) -> dict[str, Tensor]:
    """One iteration of both networks: the sum's gradient is that of alternating updates.

    Args:
        student: In train mode.
        discriminator: Maps with images -> one logit of "ground truth" an image, and the mean
            feature (N, K); in train mode, so that each call draws dropout anew.
        labeled: Labelled images.
        labels: Their labels.
        unlabeled: Unlabelled images.
        valid: Where they are no padding.
        real_images: Images of a loader of its own, as released, which the discriminator sees.
        real_labels: Their ground truth.
        matching_weight: Feature matching.
        unsup_weight: Cross-entropy to the own labels of selected images; 0 in the first iteration.
        threshold: gamma, the score above which an image is selected.
        score_mode: Mode of the discriminator that scores: 'train' as released, 'eval' without
            noise.
        ignore_padding: Whether padding of selected images is left without a label.
    """
    ignore_index = student.decode_head.ignore_index
    feats, on_labeled = forward(student, labeled)
    losses = {"sup": supervised_loss(student, feats, on_labeled, labels)}

    logits = forward(student, unlabeled)[1]
    fake = with_image(logits.softmax(1), unlabeled)
    maps = one_hot_maps(real_labels, logits.shape[1], ignore_index, logits.dtype)
    real = with_image(maps, real_images)
    discriminator.requires_grad_(False)
    score, fake_feature = discriminator(fake)
    if score_mode == "eval":
        discriminator.eval()
        with torch.no_grad():
            score = discriminator(fake)[0]
        discriminator.train()
    kept = (score.detach().sigmoid() > threshold)[:, :, None]
    if ignore_padding:
        kept = kept & valid
    target = torch.where(kept, hard_labels(logits), ignore_index)
    with torch.no_grad():
        real_feature = discriminator(real)[1]
    matching = (real_feature.mean(0) - fake_feature.mean(0)).abs().mean()
    losses["adv.loss_matching"] = matching_weight * matching
    losses["unsup.loss_self"] = unsup_weight * cross_entropy(logits, target, ignore_index)

    discriminator.requires_grad_(True)
    on_fakes, on_reals = discriminator(fake.detach())[0], discriminator(real)[0]
    fake_loss, real_loss = adversarial_loss(on_fakes, False), adversarial_loss(on_reals, True)
    losses["disc.loss"] = (fake_loss + real_loss) / 2
    return losses
