#!/usr/bin/env python3
# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Times the training step of a config against a plain torch loop of the same mathematics.

python tools/benchmark.py configs/cps/camvid_1-8.py --crop 128 [--device cuda] [--out result.json]
"""

from __future__ import annotations

import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
if (CHECKOUT / "mmsemi" / "launch.py").is_file():
    sys.path.insert(
        0, str(CHECKOUT)
    )  # the checkout's tools run the checkout's code, installed or not

from mmsemi.benchmark import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main())
