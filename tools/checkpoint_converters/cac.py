#!/usr/bin/env python3
# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""A net of CAC as a plain mmseg checkpoint."""

import sys
from pathlib import Path

# The checkout's code, installed or not, instead of this folder, whose names would hide other modules.
sys.path[0] = str(Path(__file__).resolve().parents[2])

from mmsemi.cli import run_tool  # noqa: E402

if __name__ == "__main__":
    run_tool("mmsemi.cli.convert_checkpoint", "cac")
