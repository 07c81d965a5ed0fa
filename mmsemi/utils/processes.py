# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Processes that end with the one that started them, and what they run on."""

from __future__ import annotations

import ctypes
import os
import platform
import signal
import sys
from pathlib import Path

_PDEATHSIG = 1  # of Linux's prctl


def end_with_parent() -> None:
    """In a process of its own: be killed when the one that started it ends, even by SIGKILL (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PDEATHSIG, signal.SIGKILL)


def cpu_names() -> list[str]:
    """The kind of each CPU of this machine, as the system calls it."""
    return cpu_fields("model name") or [platform.processor()] * (os.cpu_count() or 1)


def cpu_fields(name: str) -> list[str]:
    """A field of Linux's description of each CPU; [] where there is none."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.is_file() else []
    fields = [line.partition(":") for line in lines]
    return [value.strip() for key, _, value in fields if key.strip() == name]
