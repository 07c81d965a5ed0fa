# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""A training in float32, as released codes trained before TF32 existed."""

from __future__ import annotations

import torch
from mmengine.hooks import Hook
from mmengine.optim import AmpOptimWrapper
from mmseg.registry import HOOKS

from ...errors import ConfigError


@HOOKS.register_module()
class ExactFloat32Hook(Hook):
    """Products and convolutions in float32.

    PyTorch lets convolutions on recent GPUs round their inputs to TF32, 10 bits of mantissa, unless it is
    told otherwise. Rounds of self-training have collapsed with TF32 and with half precision
    (docs/methods/dst_cbc.md).

    Raises:
        ConfigError: The run has mixed precision.
    """

    priority = "VERY_HIGH"

    def before_run(self, runner) -> None:
        """Switch TF32 off."""
        if isinstance(runner.optim_wrapper, AmpOptimWrapper):
            raise ConfigError(
                "optim_wrapper.type='AmpOptimWrapper' has mixed precision, and ExactFloat32Hook of "
                "custom_hooks none: remove one of them"
            )
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False
