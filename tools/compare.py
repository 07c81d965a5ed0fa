#!/usr/bin/env python3
# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Trains several configs with several seeds and prints one table.

python tools/compare.py configs/supervised/shapes_1-8.py configs/fixmatch/shapes_1-8.py --seeds 0 1 2
"""

from __future__ import annotations

import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
if (CHECKOUT / "mmsemi" / "launch.py").is_file():
    sys.path.insert(
        0, str(CHECKOUT)
    )  # the checkout's tools run the checkout's code, installed or not

from mmsemi.compare import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main())
