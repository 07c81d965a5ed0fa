#!/usr/bin/env python3
# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Times strong views and the teacher update against the way they are usually written.

python tools/benchmark_parts.py [--parts strong ema] [--crop 321 518] [--device cuda] [--out r.json]
"""

from __future__ import annotations

import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
if (CHECKOUT / "mmsemi" / "launch.py").is_file():
    sys.path.insert(
        0, str(CHECKOUT)
    )  # the checkout's tools run the checkout's code, installed or not

from mmsemi.benchmark.parts import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main())
