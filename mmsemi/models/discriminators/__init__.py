# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Discriminators: networks that tell a segmentation from a ground-truth map.

They take and return tensors only and keep no state but their weights, so that a generator's loss may
call them with detached weights (``torch.func.functional_call``) while their own loss trains them in
the same step. They return logits: sigmoid, resizing and losses belong to the method.
"""

from __future__ import annotations

from .fc_discriminator import FCDiscriminator
from .s4gan_discriminator import S4GANDiscriminator

__all__ = ["FCDiscriminator", "S4GANDiscriminator"]
