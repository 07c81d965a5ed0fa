# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""A run that shall start from a checkpoint starts from all of it."""

from __future__ import annotations

from mmengine.hooks import Hook
from mmseg.registry import HOOKS

from ...errors import CheckpointError
from ..unwrap import unwrapped_model


@HOOKS.register_module()
class WholeWeightsHook(Hook):
    """Refuse a checkpoint of ``load_from`` that leaves a part of a network at its initial weights.

    ``mmsemi train --from`` adds it. Plain ``load_from`` takes what fits, e.g. a backbone alone.

    Raises:
        CheckpointError: A network lacks tensors; the log names them.
    """

    priority = "HIGH"

    def before_train(self, runner) -> None:
        """Look at what the model has loaded."""
        loaded = getattr(unwrapped_model(runner), "loaded", {})
        if runner.iter > 0:
            return
        for name, (found, total) in loaded.items():
            if found < total:
                raise CheckpointError(
                    f"--from {runner._load_from}: network '{name}' finds {found} of its {total} tensors in it, "
                    "the log names the others: give a checkpoint of the same network and classes, or, to "
                    "take what fits, --cfg-options load_from=..."
                )
