# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""How training runs: exact resuming, several optimisers, hooks that keep what must not be lost."""

from .hooks import (
    AtomicCheckpointHook,
    IdleParametersHook,
    InvalidLossHook,
    MaskCheckHook,
    MeanTeacherHook,
    MemoryBankHook,
    PreviousNetworksHook,
    PseudoLabelVisHook,
    RandomStateHook,
    ReportHook,
    ResumableEarlyStoppingHook,
    ResumeHook,
)
from .loops import SemiIterBasedTrainLoop, TeacherStudentValLoop
from .optim import JointOptimWrapper, JointOptimWrapperConstructor

__all__ = [
    "AtomicCheckpointHook",
    "IdleParametersHook",
    "InvalidLossHook",
    "JointOptimWrapper",
    "JointOptimWrapperConstructor",
    "MaskCheckHook",
    "MeanTeacherHook",
    "MemoryBankHook",
    "PreviousNetworksHook",
    "PseudoLabelVisHook",
    "RandomStateHook",
    "ReportHook",
    "ResumableEarlyStoppingHook",
    "ResumeHook",
    "SemiIterBasedTrainLoop",
    "TeacherStudentValLoop",
]
