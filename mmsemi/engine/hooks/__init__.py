# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
from .atomic_checkpoint_hook import AtomicCheckpointHook
from .batch_norm_gap_hook import BatchNormGapHook
from .carried_state_hook import ClassBalanceHook, MemoryBankHook
from .diagnosis_hook import DiagnosisHook
from .exact_float32_hook import ExactFloat32Hook
from .idle_parameters_hook import IdleParametersHook
from .invalid_loss_hook import InvalidLossHook
from .mask_check_hook import MaskCheckHook
from .mean_teacher_hook import MeanTeacherHook
from .previous_networks_hook import PreviousNetworksHook
from .progress_hook import ProgressHook
from .pseudo_label_hook import PseudoLabelVisHook
from .random_state_hook import RandomStateHook
from .report_hook import ReportHook
from .resumable_early_stopping_hook import ResumableEarlyStoppingHook
from .resume_hook import ResumeHook
from .whole_weights_hook import WholeWeightsHook

__all__ = [
    "AtomicCheckpointHook",
    "BatchNormGapHook",
    "ClassBalanceHook",
    "DiagnosisHook",
    "ExactFloat32Hook",
    "IdleParametersHook",
    "InvalidLossHook",
    "MaskCheckHook",
    "MeanTeacherHook",
    "MemoryBankHook",
    "PreviousNetworksHook",
    "ProgressHook",
    "PseudoLabelVisHook",
    "RandomStateHook",
    "ReportHook",
    "ResumableEarlyStoppingHook",
    "ResumeHook",
    "WholeWeightsHook",
]
