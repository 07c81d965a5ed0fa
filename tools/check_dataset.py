#!/usr/bin/env python3
# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Checks the images, masks and lists of a config, and draws a training batch as the model sees it.

python tools/check_dataset.py configs/cps/shapes_1-8.py [--strict] [--json result.json]
"""

from __future__ import annotations

import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
if (CHECKOUT / "mmsemi" / "launch.py").is_file():
    sys.path.insert(
        0, str(CHECKOUT)
    )  # the checkout's tools run the checkout's code, installed or not

from mmsemi.dataset_checks import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main())
