# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""What the methods with a discriminator share.

Decisions:

- One forward, one loss dict, one backward: the generator's losses see the discriminator through
  detached parameters, the discriminator's losses see detached maps. Their sum gives each network the
  gradient of alternating updates, provided that both optimisers step together, which
  ``JointOptimWrapper`` does.
- The discriminator's real maps come from the source ``gt`` where the data set has one, else from the
  labelled images of the batch.
- A term that has not started yet is weighted by 0, never skipped: every rank takes the same path.
- Without an optimiser of its own the discriminator would learn at the segmentor's rate, or not at
  all, and nothing in the log would say so: training does not start.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmseg.registry import MODELS
from torch import Tensor, nn

from ..losses import full_precision
from .base import Inputs, Losses, Samples, SemiSegmentor
from .network import stack_masks


def call_frozen(net: nn.Module, *args: Any) -> Any:
    """Call a network whose parameters get no gradient, while its inputs do."""
    frozen = {name: value.detach() for name, value in net.named_parameters()}
    return torch.func.functional_call(net, frozen, args)


class AdversarialSegmentor(SemiSegmentor):
    """A student and the discriminator that judges its class maps.

    Args:
        segmentor: Config of any mmseg segmentor with per-pixel logits.
        discriminator: Config of the discriminator; ``in_channels`` follows from the classes.
        kwargs: Those of :class:`SemiSegmentor`.
    """

    #: Channels that the discriminator sees besides the classes.
    image_channels = 0

    def __init__(self, segmentor: dict, discriminator: dict, **kwargs) -> None:
        super().__init__(segmentor, **kwargs)
        if getattr(self.data_preprocessor, "mix", None) is not None:
            raise ValueError(
                f"{type(self).__name__} labels the view that it trains on, so a mixed view has no "
                "labels to mix: remove data_preprocessor.mix"
            )
        self._check_settings()
        channels = self.out_channels + self.image_channels
        self.discriminator = MODELS.build({"in_channels": channels, **discriminator})
        if self.discriminator.in_channels != channels:
            raise ValueError(
                f"{type(self).__name__}.discriminator.in_channels={discriminator['in_channels']}, but "
                f"its maps have {channels} channels: leave the key out"
            )

    def _check_settings(self) -> None:
        """Refuse values that no run can mean, here and not thousands of iterations later.

        A key says by its end what it is: ``threshold`` a probability, ``*_weight`` a factor,
        ``*_start`` an iteration; a key with a bool as default is a switch.
        """
        for key, value in self.semi_train_cfg.items():
            is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if key == "threshold":
                legal, meaning = is_number and 0 <= value <= 1, "a probability in [0, 1]"
            elif key.endswith("_weight"):
                legal, meaning = (
                    is_number and 0 <= value < math.inf,
                    "a finite number of at least 0",
                )
            elif key.endswith("_start"):
                legal = is_number and isinstance(value, int) and value >= 0
                meaning = "an iteration, a whole number of at least 0"
            elif isinstance(self.train_cfg_defaults[key], bool):
                legal, meaning = isinstance(value, bool), "True or False"
            else:
                continue
            if not legal:
                raise ValueError(
                    f"{type(self).__name__}.semi_train_cfg.{key}={value!r} is not {meaning}"
                )

    def check_optim_wrapper(self, optim_wrapper: OptimWrapper | dict) -> None:
        """Refuse optimisers without one for the discriminator.

        Args:
            optim_wrapper: What steps the model, or its config.

        Raises:
            ValueError: The discriminator has no optimiser of its own.
        """
        found = isinstance(optim_wrapper, (dict, OptimWrapperDict))
        found = found and "discriminator" in optim_wrapper
        if isinstance(optim_wrapper, dict):  # mmengine's default constructor knows no parts
            constructor = optim_wrapper.get("constructor")
            found = found and constructor not in (None, "DefaultOptimWrapperConstructor")
        if not found:
            raise ValueError(
                f"{type(self).__name__} has a discriminator but optim_wrapper no optimiser for it: "
                "set optim_wrapper.constructor='JointOptimWrapperConstructor' and "
                "optim_wrapper.discriminator=dict(optimizer=dict(type='Adam', lr=1e-4, "
                "betas=(0.9, 0.99)))"
            )

    def train_step(self, data: Any, optim_wrapper: OptimWrapper) -> Losses:
        """The stock step, for loops that do not call :meth:`check_optim_wrapper` themselves."""
        self.check_optim_wrapper(optim_wrapper)
        return super().train_step(data, optim_wrapper)

    def _started(self, key: str) -> float:
        """1 from the iteration ``semi_train_cfg[key]`` on, 0 before."""
        return float(self.iteration() >= self.semi_train_cfg[key])

    def _real_labels(self, data_samples: Samples) -> Tensor:
        samples = data_samples.get("gt") or data_samples["sup"]
        for sample in samples:
            if "gt_sem_seg" not in sample:
                raise ValueError(
                    f"image '{sample.metainfo.get('img_path')}' of the source 'gt' came without a "
                    "mask: add LoadAnnotations to train_dataloader.dataset.sources.gt.pipeline"
                )
        return stack_masks(samples)

    def _resize(self, maps: Tensor, size_hw: tuple[int, int]) -> Tensor:
        return F.interpolate(maps, size_hw, mode="bilinear", align_corners=True)

    def _probabilities(self, logits_NCHW: Tensor) -> Tensor:
        """Softmax over the classes in float32 at least, as the discriminator sees it."""
        return full_precision(logits_NCHW).softmax(1)

    def _valid_unlabeled(self, inputs: Inputs) -> Tensor:
        """Pixels of the unlabelled images that count."""
        if self.semi_train_cfg["ignore_padding"]:
            return inputs["valid"]
        return torch.ones_like(inputs["valid"])
