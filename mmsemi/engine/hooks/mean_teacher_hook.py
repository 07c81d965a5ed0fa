# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Tells a model's teacher when the optimiser has stepped."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook
from mmseg.registry import HOOKS

from ...errors import ConfigError
from ...models.ema import EMATeacher
from ..optim import has_stepped, steps_in
from ..unwrap import unwrapped_model

_SHARDING_WRAPPERS = ("FullyShardedDataParallel", "FSDPModule", "DeepSpeed")


@HOOKS.register_module()
class MeanTeacherHook(Hook):
    """Starts ``model.teacher``, an :class:`~mmsemi.models.ema.EMATeacher`, and updates it.

    At the start of a run the teacher becomes a copy of the student, unless a checkpoint brought its
    own. Under gradient accumulation only iterations that step the optimiser count. How the average is
    taken is the teacher's business, which the method's settings decide.

    Raises:
        ConfigError: The model has no teacher, a wrapper shards its parameters, or the loop cannot say how
            long a pass over the unlabelled images is.
    """

    priority = "NORMAL"

    @staticmethod
    def _model(runner) -> Any:
        model = runner.model
        for base in type(model).__mro__:
            if any(name in base.__name__ for name in _SHARDING_WRAPPERS):
                raise ConfigError(
                    f"MeanTeacherHook averages whole tensors, {type(model).__name__} shards them: "
                    "train with DDP or on a single device"
                )
        model = unwrapped_model(runner)
        if not isinstance(getattr(model, "teacher", None), EMATeacher):
            raise ConfigError(
                f"MeanTeacherHook updates model.teacher, {type(model).__name__} has none: remove the "
                "hook from custom_hooks"
            )
        return model

    @staticmethod
    def _steps(runner, passes: float) -> int:
        """Optimiser steps of passes over the unlabelled images."""
        loop = runner.train_loop
        if not hasattr(loop, "iterations_of"):
            raise ConfigError(
                f"a teacher that is a copy for the first {passes:g} passes needs "
                f"train_cfg.type='SemiIterBasedTrainLoop', not {type(loop).__name__}: use it, or set "
                "model.copy_passes=0"
            )
        return steps_in(runner.optim_wrapper, loop.iterations_of(passes, "unlabeled"))

    def before_run(self, runner) -> None:
        """Refuse a model that the hook cannot serve."""
        self._model(runner)

    def before_train(self, runner) -> None:
        """Start the teacher, and say in the log what will happen."""
        model = self._model(runner)
        teacher = model.teacher
        if not teacher.is_loaded:
            if runner.iter > 0:
                runner.logger.warning(
                    "the checkpoint has no teacher: the teacher starts as a copy of the student"
                )
            teacher.copy_student(model.student)
        teacher.start(model.student)
        if teacher.copy_passes:
            teacher.copy_steps = self._steps(runner, teacher.copy_passes)
        handling = {"copy": "copied", "ema": "EMA", "keep": "its own"}[teacher.buffers_from]
        warmup = f", a copy for {teacher.copy_steps} steps" if teacher.copy_steps else ""
        warmup += ", warm-up" if teacher.warmup else ""
        timing = ", between the forwards" if teacher.when == "mid" else ""
        runner.logger.info(
            f"teacher: params EMA {1 - teacher.momentum:g}{warmup}{timing}, buffers {handling}, "
            f"{teacher.mode}"
        )

    def before_train_iter(self, runner, batch_idx: int, data_batch: Any = None) -> None:
        """Note for ``when='mid'`` whether this is the first iteration behind an optimiser step."""
        self._model(runner).teacher.is_due = has_stepped(runner.optim_wrapper)

    def after_train_iter(
        self, runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        """Average, if the optimiser stepped.

        Raises:
            ConfigError: ``when='mid'``, but the method did not ask for the average.
        """
        model = self._model(runner)
        if model.teacher.when == "after":
            if has_stepped(runner.optim_wrapper):
                model.teacher.update()
        elif model.teacher.is_due:
            raise ConfigError(
                f"the teacher of {type(model).__name__} is averaged when the step asks for it "
                "(when='mid'), and it did not: use when='after'"
            )
