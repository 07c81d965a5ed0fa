#!/usr/bin/env python3
# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Trains a model: mmseg's own tools/train.py, its arguments, from any directory.

python tools/train.py configs/cps/shapes_1-8.py [--resume] [--cfg-options key=value ...]
"""

from __future__ import annotations

import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
if (CHECKOUT / "mmsemi" / "launch.py").is_file():
    sys.path.insert(
        0, str(CHECKOUT)
    )  # the checkout's tools run the checkout's code, installed or not

from mmsemi.launch import exit_tool, run_stock_tool  # noqa: E402

if __name__ == "__main__":
    exit_tool(run_stock_tool("train"))
