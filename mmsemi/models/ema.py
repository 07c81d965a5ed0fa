# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""The teacher: an exponential moving average of the student.

Tarvainen and Valpola, "Mean teachers are better role models", NeurIPS 2017, section 2.
"""

from __future__ import annotations

import copy
import logging
from typing import Any

import torch
from mmengine.logging import print_log
from torch import Tensor, nn

from ..errors import ConfigError


class EMATeacher(nn.Module):
    """A copy of the student whose weights follow it: teacher <- (1 - m) teacher + m student.

    The network is :attr:`module`. :class:`~mmsemi.engine.hooks.MeanTeacherHook` starts the teacher
    and updates it after optimiser steps; with ``when='mid'`` the method itself calls
    :meth:`update_if_due` between its forwards.

    Args:
        student: The network that is copied.
        momentum: m, the weight of the NEW value, as everywhere in OpenMMLab, in (0, 1]. It is
            1 - decay: the papers' "EMA decay 0.996" is ``momentum=0.004``.
        warmup: Use m = max(momentum, 1 / (k + 1)) at optimiser step k, so that the first weights are
            forgotten at once.
        warmup_start: Number k of the first optimiser step: 0 makes the first update a copy (U2PL,
            UniMatch V2), 1 an average of two (MLMT).
        buffers: What happens to buffers such as batch-norm statistics: ``'copy'`` takes the
            student's, ``'ema'`` averages floating-point buffers like parameters and copies the rest,
            ``'keep'`` leaves them to the teacher's own forwards in train mode.
        mode: ``'eval'``: running statistics, no dropout; ``'train'``: follows the model's mode.
        when: ``'after'`` the optimiser step, or ``'mid'``, see above: under accumulation that is
            the first iteration behind each step (TorchSemiSeg's mean teacher).
        copy_passes: Passes over the unlabelled images through which each update is a copy (AugSeg); the
            warm-up counts these updates, too. The hook turns them into :attr:`copy_steps`, optimiser
            steps, when a run starts.
        head: A module behind the network that is averaged alike, in :attr:`head`; U2PL compares features
            of a representation head that predictions do not need.

    Raises:
        ConfigError: A value is out of its range, or nothing would ever change the teacher's
            batch-norm statistics.
    """

    def __init__(
        self,
        student: nn.Module,
        momentum: float,
        warmup: bool = False,
        warmup_start: int = 0,
        buffers: str = "copy",
        mode: str = "eval",
        when: str = "after",
        copy_passes: float = 0,
        head: nn.Module | None = None,
    ) -> None:
        super().__init__()
        choices = dict(
            buffers=("copy", "ema", "keep"), mode=("eval", "train"), when=("after", "mid")
        )
        for name, value in dict(buffers=buffers, mode=mode, when=when).items():
            if value not in choices[name]:
                legal = ", ".join(map(repr, choices[name]))
                raise ConfigError(f"the teacher's {name}={value!r} is none of {legal}")
        if not 0 < momentum <= 1:
            raise ConfigError(
                f"momentum={momentum} must lie in (0, 1]: it is the weight of the new value, 1 - decay"
            )
        if mode == "eval" and buffers == "keep":
            raise ConfigError(
                "buffers='keep' is for a teacher in train mode; one in eval mode would keep its first "
                "batch-norm statistics for ever: use buffers='copy' or 'ema'"
            )
        if momentum > 0.5:
            print_log(
                f"momentum={momentum} is the weight of the new value; for an EMA decay of {momentum} "
                f"write momentum={1 - momentum:g}",
                "current",
                logging.WARNING,
            )
        self.momentum = momentum
        self.warmup = warmup
        self.warmup_start = warmup_start
        self.copy_passes = copy_passes
        self.copy_steps = 0
        self.buffers_from = buffers
        self.mode = mode
        self.when = when
        self.module = copy.deepcopy(student).requires_grad_(False)
        self.head = None if head is None else copy.deepcopy(head).requires_grad_(False)
        self._student_head = [head]  # in a list: it is no part of the teacher
        # Optimiser steps so far. The step reads the number beside it: a buffer may be on a GPU.
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))
        self._num_steps = 0
        self.is_started = False
        self.is_due = False
        #: Whether a checkpoint brought the teacher's own weights, with their step.
        self.is_loaded = False
        if mode == "eval":
            self.eval()

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The network's forward."""
        return self.module(*args, **kwargs)

    def train(self, mode: bool = True) -> EMATeacher:
        """Train mode only for a teacher with batch statistics."""
        return super().train(mode and self.mode == "train")

    @torch.no_grad()
    def copy_student(self, student: nn.Module) -> None:
        """Become an exact copy of the student, buffers included."""
        for new, old in self._pairs(student):
            old.load_state_dict(new.state_dict())

    def restart(self, student: nn.Module) -> None:
        """Become a copy of the student, and begin the warm-up again."""
        self.copy_student(student)
        self._num_steps = 0
        self.steps.fill_(0)

    def _pairs(self, student: nn.Module) -> list[tuple[nn.Module, nn.Module]]:
        """What is averaged: modules of the student and of the teacher."""
        heads = [] if self.head is None else [(*self._student_head, self.head)]
        return [(student, self.module), *heads]

    def start(self, student: nn.Module) -> None:
        """Note which tensors follow which; call it when student and teacher are on their device.

        Raises:
            ConfigError: The networks differ in structure.
        """
        self._averaged, self._copied = _TensorPairs(), _TensorPairs()
        for pair in self._pairs(student):
            self._follow(*pair)
        self.is_started = True

    def _follow(self, student: nn.Module, teacher: nn.Module) -> None:
        for kind in ("named_parameters", "named_buffers"):
            if kind == "named_buffers" and self.buffers_from == "keep":
                continue
            new, old = (dict(getattr(net, kind)()) for net in (student, teacher))
            differing = sorted(new.keys() ^ old.keys()) or [
                name for name, tensor in new.items() if tensor.shape != old[name].shape
            ]
            if differing:
                raise ConfigError(
                    f"student and teacher differ in '{differing[0]}' (and {len(differing) - 1} "
                    "more): an average needs the same architecture"
                )
            averages = kind == "named_parameters" or self.buffers_from == "ema"
            for name, tensor in new.items():
                if old[name] is tensor:  # of a frozen encoder, which both have
                    continue
                pairs = self._averaged if averages and tensor.is_floating_point() else self._copied
                pairs.add(old[name], tensor)

    def update_if_due(self) -> None:
        """Average once after each optimiser step, where the method asks for it (``when='mid'``)."""
        if self.when == "mid" and self.is_due:
            self.is_due = False
            self.update()

    @torch.no_grad()
    def update(self) -> None:
        """Average with the student, after one optimiser step."""
        weight = self.momentum
        if self.warmup:
            weight = max(weight, 1 / (self._num_steps + self.warmup_start + 1))
        if self._num_steps < self.copy_steps:
            weight = 1
        self._num_steps += 1
        self.steps.fill_(self._num_steps)
        if weight == 1:  # nothing of the teacher is left, not even a NaN
            self._averaged.copy()
        else:
            self._averaged.lerp(weight)
        self._copied.copy()

    def _load_from_state_dict(
        self, state_dict: dict[str, Tensor], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        self.is_loaded = f"{prefix}steps" in state_dict
        state_dict.setdefault(f"{prefix}steps", self.steps.new_zeros(()))
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)
        self._num_steps = int(self.steps)


class _TensorPairs:
    """Teacher and student tensors, grouped by device and type for the fused operations."""

    def __init__(self) -> None:
        self._groups: dict[tuple, tuple[list[Tensor], list[Tensor]]] = {}

    def add(self, teacher: Tensor, student: Tensor) -> None:
        large = teacher.numel() > 4096 and teacher.is_contiguous() and student.is_contiguous()
        key = (teacher.device, teacher.dtype, student.device, student.dtype, large)
        teachers, students = self._groups.setdefault(key, ([], []))
        teachers.append(teacher)
        students.append(student)

    def lerp(self, weight: float) -> None:
        """teacher <- (1 - weight) teacher + weight student."""
        for (device, *_, large), (teachers, students) in self._groups.items():
            # A large tensor's update waits for memory on a CPU. addr_ reads both and writes one, as
            # lerp_ does, and its kernel keeps up with the memory (benchmarks/parts.py).
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
