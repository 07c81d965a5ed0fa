# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""How a method with a discriminator is built and stepped; its losses are in its own file.

Decisions:

- One forward, one loss dict, one backward: the generator's losses see the discriminator through
  detached parameters (:func:`~mmsemi.models.forward.call_frozen`), the discriminator's losses see
  detached maps. Their sum gives each network the gradient of alternating updates, provided that both
  optimisers step together, which ``JointOptimWrapper`` does.
- The discriminator's real maps come from the source ``gt`` where the data set has one, else from the
  labelled images of the batch.
- A term that has not started yet is weighted by 0, never skipped: every rank takes the same path.
- Without an optimiser of its own the discriminator would learn at the segmentor's rate, or not at
  all, and nothing in the log would say so: training does not start.
"""

from __future__ import annotations

from typing import Any

from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmseg.registry import MODELS

from ...errors import ConfigError, DataError
from ...structures import Images, SemiBatch
from .base import Losses, SemiSegmentor


class AdversarialSegmentor(SemiSegmentor):
    """A student and the discriminator that looks at its class maps.

    Args:
        segmentor: Config of any mmseg segmentor with per-pixel logits.
        discriminator: Config of the discriminator; ``in_channels`` follows from the classes.
        kwargs: Those of :class:`SemiSegmentor`.

    Raises:
        ConfigError: A setting is wrong, or ``in_channels`` is another number.
    """

    #: Channels that the discriminator sees besides the classes.
    image_channels = 0

    def __init__(self, segmentor: dict, discriminator: dict, **kwargs: Any) -> None:
        super().__init__(segmentor, **kwargs)
        channels = max(2, self.out_channels) + self.image_channels
        self.discriminator = MODELS.build({"in_channels": channels, **discriminator})
        if self.discriminator.in_channels != channels:
            raise ConfigError(
                f"{type(self).__name__}.discriminator.in_channels={discriminator['in_channels']}, but "
                f"its maps have {channels} channels: leave the key out"
            )

    def check_optim_wrapper(self, optim_wrapper: OptimWrapper | dict) -> None:
        """Refuse optimisers without one for the discriminator.

        Args:
            optim_wrapper: What steps the model, or its config.

        Raises:
            ConfigError: The discriminator has no optimiser of its own.
        """
        found = isinstance(optim_wrapper, (dict, OptimWrapperDict))
        found = found and "discriminator" in optim_wrapper
        if isinstance(optim_wrapper, dict):  # mmengine's default constructor knows no parts
            constructor = optim_wrapper.get("constructor")
            found = found and constructor not in (None, "DefaultOptimWrapperConstructor")
        if not found:
            raise ConfigError(
                f"{type(self).__name__} has a discriminator but optim_wrapper no optimiser for it: "
                "set optim_wrapper.constructor='JointOptimWrapperConstructor' and "
                "optim_wrapper.discriminator=dict(optimizer=dict(type='Adam', lr=1e-4, "
                "betas=(0.9, 0.99)))"
            )

    def train_step(self, data: Any, optim_wrapper: OptimWrapper) -> Losses:
        """The stock step, for loops that do not call :meth:`check_optim_wrapper` themselves."""
        self.check_optim_wrapper(optim_wrapper)
        return super().train_step(data, optim_wrapper)

    @staticmethod
    def real_images(batch: SemiBatch) -> Images:
        """The images whose ground truth the discriminator sees.

        Raises:
            DataError: Those of the source ``gt`` came without masks.
        """
        real = batch.sources.get("gt", batch.labeled)
        if real.labels_NHW is None:
            raise DataError(
                f"image '{real.paths[0]}' of the source 'gt' came without a mask: add LoadAnnotations "
                "to train_dataloader.dataset.sources.gt.pipeline"
            )
        return real

    def started(self, iteration: int) -> float:
        """1 from an iteration on, 0 before."""
        return float(self.iteration() >= iteration)
