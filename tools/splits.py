#!/usr/bin/env python3
# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Labelled subsets: published ones by name, and random ones of any data set.

python tools/splits.py list
python tools/splits.py import --protocol classic_voc_92 --file-labeled labeled.txt
python tools/splits.py sample --data-root data/mine/images --ratio 1/8 --out splits/mine_1of8
"""

from __future__ import annotations

import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
if (CHECKOUT / "mmsemi" / "launch.py").is_file():
    sys.path.insert(
        0, str(CHECKOUT)
    )  # the checkout's tools run the checkout's code, installed or not

from mmsemi.cli.splits import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main())
