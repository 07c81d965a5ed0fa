# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Processes that end with the one that started them."""

from __future__ import annotations

import ctypes
import signal
import sys

_PDEATHSIG = 1  # of Linux's prctl


def end_with_parent() -> None:
    """In a process of its own: be killed when the one that started it ends, even by SIGKILL (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PDEATHSIG, signal.SIGKILL)
