# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""What a method carries from step to step besides weights travels beside the optimiser's state."""

from __future__ import annotations

from typing import Any, ClassVar

from mmengine.hooks import Hook
from mmseg.registry import HOOKS

from ...errors import CheckpointError
from ..unwrap import unwrapped_model


class CarriedStateHook(Hook):
    """Stores a part of the model in checkpoints that a run can resume from, and restores it there.

    A run that resumes without one that fits, e.g. a memory bank of another number of processes, starts with
    an empty one, as at its beginning, and the log says so.
    """

    priority = "NORMAL"
    #: Attribute of the model, with ``state_dict()`` and ``load_state_dict(state, device)``, and key in the
    #: checkpoint.
    part: ClassVar[str]

    def __init__(self) -> None:
        self._loaded: dict[str, Any] | None = None

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        """Add it where the optimiser's state is, too: not to the best weights."""
        if "optimizer" in checkpoint:
            checkpoint[self.part] = getattr(unwrapped_model(runner), self.part).state_dict()

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        """Keep what is stored until the run really resumes."""
        self._loaded = checkpoint.get(self.part)

    def before_train(self, runner) -> None:
        """Restore it in a run that resumes; ``load_from`` alone brings none."""
        stored, self._loaded = self._loaded, None
        if runner.iter == 0:
            return
        model = unwrapped_model(runner)
        try:
            if stored is None:
                raise CheckpointError(f"the checkpoint holds no {self.part.replace('_', ' ')}")
            getattr(model, self.part).load_state_dict(stored, next(model.parameters()).device)
        except CheckpointError as error:
            runner.logger.warning(
                f"{error}: it starts empty, and the run continues, but not bit for bit"
            )


@HOOKS.register_module()
class MemoryBankHook(CarriedStateHook):
    """Of a method with ``model.memory_bank``."""

    part = "memory_bank"


@HOOKS.register_module()
class ClassBalanceHook(CarriedStateHook):
    """Of a method with ``model.class_balance``."""

    part = "class_balance"
