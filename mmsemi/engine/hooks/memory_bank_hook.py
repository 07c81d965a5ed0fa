# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""A method's memory bank travels with the checkpoint, beside the optimiser's state."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmseg.registry import HOOKS

from ...errors import CheckpointError

#: Where the bank lives in a checkpoint.
CHECKPOINT_KEY = "memory_bank"


@HOOKS.register_module()
class MemoryBankHook(Hook):
    """Stores ``model.memory_bank`` in checkpoints that a run can resume from, and restores it there.

    A run that resumes without a bank that fits, e.g. with another number of processes, starts with an
    empty one, as at its beginning, and the log says so.
    """

    priority = "NORMAL"

    def __init__(self) -> None:
        self._loaded: dict[str, Any] | None = None

    @staticmethod
    def _model(runner) -> Any:
        return runner.model.module if is_model_wrapper(runner.model) else runner.model

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        """Add the bank where the optimiser's state is, too: not to the best weights."""
        if "optimizer" in checkpoint:
            checkpoint[CHECKPOINT_KEY] = self._model(runner).memory_bank.state_dict()

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        """Keep the stored bank until the run really resumes."""
        self._loaded = checkpoint.get(CHECKPOINT_KEY)

    def before_train(self, runner) -> None:
        """Restore the bank of a run that resumes; ``load_from`` alone brings none."""
        stored, self._loaded = self._loaded, None
        if runner.iter == 0:
            return
        model = self._model(runner)
        try:
            if stored is None:
                raise CheckpointError("the checkpoint holds no memory bank")
            model.memory_bank.load_state_dict(stored, next(model.parameters()).device)
        except CheckpointError as error:
            runner.logger.warning(
                f"{error}: it starts empty, and the run continues, but not bit for bit"
            )
