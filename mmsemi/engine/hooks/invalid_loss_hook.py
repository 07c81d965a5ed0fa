# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Stop a run whose loss is NaN or infinite, and say where it came from."""

from __future__ import annotations

import math
from typing import Any

import torch
from mmengine.dist import all_gather_object, all_reduce, get_rank, get_world_size
from mmengine.hooks import CheckpointHook, Hook
from mmseg.registry import HOOKS
from torch import Tensor

from ...errors import ConfigError, TrainingError
from ..unwrap import unwrapped_model

_CAUSES = (
    "usual causes: learning rate too high or without warm-up, fp16 overflow (try bf16 or gradient "
    "clipping), a damaged image"
)


def _image_paths(data_batch: Any) -> list[str]:
    """Paths of the batch's images, each with the name of its source."""
    samples = data_batch.get("data_samples", []) if isinstance(data_batch, dict) else []
    if isinstance(samples, dict):
        samples = [sample for branch in samples.values() for sample in branch or []]
    paths = []
    for sample in samples:
        path = getattr(sample, "img_path", None)
        if path is not None:
            source = getattr(sample, "source", None)
            paths.append(f"{path} ({source})" if source else str(path))
    return list(dict.fromkeys(paths))


@HOOKS.register_module()
class InvalidLossHook(Hook):
    """Raise when a loss is not finite, before the weights that it poisoned can be stored.

    All processes stop together, also if only one of them saw the invalid value: through the
    averaged gradient it is in everyone's weights. The check costs one host synchronisation. As a
    last guard, weights that are not finite (a finite loss may have an infinite gradient) are never
    written.

    Args:
        interval: Iterations between checks. Iterations after which a checkpoint may be written are
            always checked.

    Raises:
        TrainingError: During training, naming iteration, losses and the images of the batch.
    """

    # Before MeanTeacherHook (NORMAL) and CheckpointHook (VERY_LOW).
    priority = "ABOVE_NORMAL"

    def __init__(self, interval: int = 1) -> None:
        if interval < 1:
            raise ConfigError(f"InvalidLossHook.interval={interval} must be at least 1")
        self.interval = interval

    def _is_due(self, runner) -> bool:
        if (
            self.every_n_train_iters(runner, self.interval)
            or self.is_last_train_iter(runner)
            or (
                runner.val_loop is not None
                and self.every_n_train_iters(runner, runner.val_interval)
            )
        ):
            return True
        return any(
            self.every_n_train_iters(runner, hook.interval, hook.save_begin)
            for hook in runner.hooks
            if isinstance(hook, CheckpointHook) and not hook.by_epoch
        )

    def after_train_iter(
        self, runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        """Check every value whose name contains ``loss``."""
        if not self._is_due(runner):
            return
        losses = {key: value for key, value in (outputs or {}).items() if "loss" in key}
        sums = [torch.as_tensor(value).detach().float().sum() for value in losses.values()]
        found = (~torch.stack(sums).isfinite()).any().float() if sums else torch.zeros(())
        all_reduce(found, "max")
        if found.item():
            self._stop(runner, losses, data_batch)

    @staticmethod
    def _stop(runner, losses: dict[str, Any], data_batch: Any) -> None:
        invalid = {key: torch.as_tensor(value).sum().item() for key, value in losses.items()}
        named = ", ".join(f"{k}={v}" for k, v in invalid.items() if not math.isfinite(v))
        if named:
            paths = ", ".join(_image_paths(data_batch)) or "unknown"
            place = f" of process {get_rank()}" if get_world_size() > 1 else ""
            named = f"{named}; images of the batch{place}: {paths}"
        reports = [report for report in all_gather_object(named) if report]
        raise TrainingError(
            f"invalid loss at iteration {runner.iter + 1}: {'; '.join(reports)}; {_CAUSES}; no "
            "checkpoint was written with these weights"
        )

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        """Refuse to write weights that are not finite."""
        model = unwrapped_model(runner)
        parameters = {name for name, _ in model.named_parameters()}
        for name, value in checkpoint["state_dict"].items():
            if not (isinstance(value, Tensor) and value.is_floating_point()):
                continue
            # A buffer may hold infinities on purpose, such as an attention mask.
            valid = value.isfinite() if name in parameters else ~value.isnan()
            if not valid.all():
                raise TrainingError(
                    f"the weights '{name}' are not finite at iteration "
                    f"{checkpoint['meta']['iter']}: the checkpoint is not written; {_CAUSES}"
                )
