# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""How training runs: loops that resume exactly, and hooks that keep what must not be lost."""

from .hooks import (
    AtomicCheckpointHook,
    InvalidLossHook,
    MaskCheckHook,
    MeanTeacherHook,
    PseudoLabelVisHook,
    RandomStateHook,
)
from .loops import SemiIterBasedTrainLoop, TeacherStudentValLoop

__all__ = [
    "AtomicCheckpointHook",
    "InvalidLossHook",
    "MaskCheckHook",
    "MeanTeacherHook",
    "PseudoLabelVisHook",
    "RandomStateHook",
    "SemiIterBasedTrainLoop",
    "TeacherStudentValLoop",
]
