# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Parameters that a method does not use yet are left alone by the optimiser."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook
from mmengine.optim import OptimWrapperDict
from mmseg.registry import HOOKS

from ..unwrap import unwrapped_model


@HOOKS.register_module()
class IdleParametersHook(Hook):
    """Takes the gradient of ``model.idle_parameters()`` away before each step of an optimiser.

    DDP wants a gradient of every parameter on every rank, so a term that has not started is weighted
    by 0. With that gradient of 0 weight decay would shrink the parameters all the same, and Adam
    would count steps; without any, no optimiser touches them.
    """

    priority = "NORMAL"

    def before_train(self, runner) -> None:
        """Attach to the optimisers."""
        model = unwrapped_model(runner)

        def drop(*_: Any) -> None:
            for parameter in model.idle_parameters():
                parameter.grad = None

        wrapper = runner.optim_wrapper
        members = wrapper.values() if isinstance(wrapper, OptimWrapperDict) else [wrapper]
        for member in members:
            member.optimizer.register_step_pre_hook(drop)
