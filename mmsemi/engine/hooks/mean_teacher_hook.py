# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""The exponential moving average that makes a teacher of a student.

Tarvainen and Valpola, "Mean teachers are better role models", NeurIPS 2017, section 2.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.model import is_model_wrapper
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmseg.registry import HOOKS
from torch import Tensor, nn

_STEP_KEY = "mean_teacher_steps"
_SHARDING_WRAPPERS = ("FullyShardedDataParallel", "FSDPModule", "DeepSpeed")


class _Pairs:
    """Teacher and student tensors, grouped by device and type for the fused operations."""

    def __init__(self) -> None:
        self._groups: dict[tuple, tuple[list[Tensor], list[Tensor]]] = {}

    def add(self, teacher: Tensor, student: Tensor) -> None:
        large = teacher.numel() > 4096 and teacher.is_contiguous() and student.is_contiguous()
        key = (teacher.device, teacher.dtype, student.device, student.dtype, large)
        group = self._groups.setdefault(key, ([], []))
        group[0].append(teacher)
        group[1].append(student)

    def lerp(self, weight: float) -> None:
        """teacher <- (1 - weight) teacher + weight student."""
        for (device, *_, large), (teachers, students) in self._groups.items():
            # A large tensor's update waits for memory on a CPU. addr_ reads both and writes one, as
            # lerp_ does, and its kernel keeps up with the memory (tools/benchmark_parts.py).
            if device.type == "cpu" and large:
                one = teachers[0].new_ones(1)
                for teacher, student in zip(teachers, students):
                    column, values = teacher.view(-1, 1), student.view(-1)
                    column.addr_(values, one, beta=1 - weight, alpha=weight)
            else:
                torch._foreach_lerp_(teachers, students, weight)

    def copy(self) -> None:
        """teacher <- student."""
        for teachers, students in self._groups.values():
            torch._foreach_copy_(teachers, students)


@HOOKS.register_module()
class MeanTeacherHook(Hook):
    """Update ``model.teacher`` from ``model.student`` after optimiser steps.

    teacher <- (1 - momentum) * teacher + momentum * student

    At the start of a run the teacher becomes a copy of the student, unless a checkpoint brought its
    own teacher. Under gradient accumulation only iterations that step the optimiser count.

    Args:
        momentum: Weight of the NEW value, as everywhere in OpenMMLab, in (0, 1]. It is 1 - decay:
            the papers' "EMA decay 0.996" is ``momentum=0.004``.
        interval: Optimiser steps between updates.
        buffers: What happens to buffers such as batch-norm statistics: ``'copy'`` takes the
            student's, ``'ema'`` averages floating-point buffers like parameters and copies the
            rest, ``'keep'`` leaves them to the teacher's own forwards in train mode.
        warmup: Use decay min(1 - 1/(k + 1), 1 - momentum) at optimiser step k, so that the random
            initial weights are forgotten at once. The step number survives resuming.
        warmup_start: Number k of the first optimiser step: 0 makes the first update a copy (U2PL,
            UniMatch V2), 1 an average of two (MLMT).
        when: ``'after'`` the optimiser step; ``'mid'``: in the next iteration, when the model calls
            ``update_teacher()`` between its labelled and its unlabelled forward (TorchSemiSeg's
            mean teacher). Under accumulation that is the first iteration behind each step.

    Raises:
        ValueError: An argument is out of range, or student and teacher differ in structure.
        TypeError: The model has no ``student`` and ``teacher``, or a wrapper shards its parameters.
    """

    priority = "NORMAL"

    def __init__(
        self,
        momentum: float = 0.004,
        interval: int = 1,
        buffers: str = "copy",
        warmup: bool = False,
        warmup_start: int = 0,
        when: str = "after",
    ) -> None:
        if not 0 < momentum <= 1:
            raise ValueError(f"MeanTeacherHook.momentum={momentum} must lie in (0, 1]")
        if interval < 1:
            raise ValueError(f"MeanTeacherHook.interval={interval} must be at least 1")
        if buffers not in ("copy", "ema", "keep"):
            raise ValueError(f"MeanTeacherHook.buffers={buffers!r} must be 'copy', 'ema' or 'keep'")
        if when not in ("after", "mid"):
            raise ValueError(f"MeanTeacherHook.when={when!r} must be 'after' or 'mid'")
        if momentum > 0.5:
            print_log(
                f"MeanTeacherHook.momentum={momentum} is the weight of the new value; for an EMA "
                f"decay of {momentum} write momentum={1 - momentum:g}",
                "current",
                logging.WARNING,
            )
        self.momentum = momentum
        self.interval = interval
        self.buffers = buffers
        self.warmup = warmup
        self.warmup_start = warmup_start
        self.when = when
        self._is_due = False
        self._teacher_in_checkpoint: bool | None = None

    @staticmethod
    def _model(runner) -> nn.Module:
        model = runner.model
        for base in type(model).__mro__:
            if any(name in base.__name__ for name in _SHARDING_WRAPPERS):
                raise TypeError(
                    f"MeanTeacherHook averages whole tensors, {type(model).__name__} shards them: "
                    "train with DDP or on a single device"
                )
        model = model.module if is_model_wrapper(model) else model
        for name in ("student", "teacher"):
            if not isinstance(getattr(model, name, None), nn.Module):
                raise TypeError(
                    f"MeanTeacherHook needs model.{name}, {type(model).__name__} has none: remove "
                    "the hook from custom_hooks"
                )
        return model

    def before_run(self, runner) -> None:
        """Announce itself: a model with a teacher refuses to train without this hook."""
        self._model(runner).teacher_hook_attached = True

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        """Remember whether the checkpoint brings a teacher."""
        keys = checkpoint.get("state_dict", checkpoint)
        self._teacher_in_checkpoint = any(
            key.startswith(("teacher.", "module.teacher.")) for key in keys
        )

    def before_train(self, runner) -> None:
        """Start the teacher, pair the tensors, and say in the log what will happen."""
        model = self._model(runner)
        model.teacher_hook_attached = True
        loaded = self._teacher_in_checkpoint
        if loaded is None:  # no checkpoint passed by, but one may have been loaded directly
            loaded = getattr(model, "teacher_loaded", False) or runner.iter > 0
        if not loaded:
            if runner.iter > 0:
                runner.logger.warning(
                    "the checkpoint has no teacher: the teacher starts as a copy of the student"
                )
            self._sync(model)
        self._pair(model)
        if self.when == "mid":
            model.update_teacher = partial(self._update_if_due, runner)
        model.train()  # as the loop does; tells in which mode the teacher will work
        mode = "train" if model.teacher.training else "eval"
        handling = {"copy": "copied", "ema": "EMA", "keep": "its own"}[self.buffers]
        warmup = ", warm-up" if self.warmup else ""
        timing = ", between the forwards" if self.when == "mid" else ""
        runner.logger.info(
            f"teacher: params EMA {1 - self.momentum:g}{warmup}{timing}, buffers {handling}, {mode}"
        )

    @staticmethod
    @torch.no_grad()
    def _sync(model: nn.Module) -> None:
        if hasattr(model, "sync_teacher"):
            model.sync_teacher()
        else:
            model.teacher.load_state_dict(model.student.state_dict())

    def _pair(self, model: nn.Module) -> None:
        """Sort all tensors into those that are averaged and those that are copied."""
        self._averaged, self._copied = _Pairs(), _Pairs()
        for kind in ("named_parameters", "named_buffers"):
            if kind == "named_buffers" and self.buffers == "keep":
                continue
            students = dict(getattr(model.student, kind)())
            teachers = dict(getattr(model.teacher, kind)())
            differing = sorted(students.keys() ^ teachers.keys()) or [
                name for name, tensor in students.items() if tensor.shape != teachers[name].shape
            ]
            if differing:
                raise ValueError(
                    f"student and teacher differ in '{differing[0]}' (and {len(differing) - 1} "
                    "more): an average needs the same architecture"
                )
            for name, student in students.items():
                averaged = student.is_floating_point() and (
                    kind == "named_parameters" or self.buffers == "ema"
                )
                pairs = self._averaged if averaged else self._copied
                pairs.add(teachers[name], student)

    @staticmethod
    def _stepped(optim_wrapper: OptimWrapper) -> bool:
        """Whether the iteration that just ended stepped the optimiser."""
        if (
            isinstance(optim_wrapper, OptimWrapperDict)
            and type(optim_wrapper).should_update is OptimWrapper.should_update
        ):  # inherited, but this container has no counter of its own
            return all(wrapper.should_update() for wrapper in optim_wrapper.values())
        return optim_wrapper.should_update()

    def before_train_iter(self, runner, batch_idx: int, data_batch: Any = None) -> None:
        """Note for ``when='mid'`` whether this is the first iteration behind an optimiser step."""
        self._is_due = self._stepped(runner.optim_wrapper)

    def after_train_iter(
        self, runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        """Average, if the optimiser stepped.

        Raises:
            RuntimeError: ``when='mid'``, but the model did not ask for the average.
        """
        if self._is_due and self.when == "mid":
            model = self._model(runner)
            raise RuntimeError(
                f"MeanTeacherHook(when='mid') averages when the model asks for it, but "
                f"{type(model).__name__} did not: use when='after'"
            )
        if self.when == "after" and self._stepped(runner.optim_wrapper):
            self._update(runner)

    def _update_if_due(self, runner) -> None:
        if self._is_due:
            self._is_due = False
            self._update(runner)

    @torch.no_grad()
    def _update(self, runner) -> None:
        """Average, if the interval is over."""
        step = runner.message_hub.get_info(_STEP_KEY, 0)
        runner.message_hub.update_info(_STEP_KEY, step + 1)
        if (step + 1) % self.interval:
            return
        weight = self.momentum
        if self.warmup:
            weight = max(weight, 1 / (step + self.warmup_start + 1))
        self._averaged.lerp(weight)
        self._copied.copy()
