# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Data sets whose "no label" is not 255.

After open-mmlab/mmsegmentation#554, #3488, PaddleSeg#3079 (value 4) and meetps/pytorch-semseg#67 (250). Where data
set, head and padding disagree, a message must say which setting to change; where they agree, it must train.
"""

from __future__ import annotations

import numpy as np
from _case import TMP, config, make_set, save, says, tail, train
from PIL import Image

wrong = []
for name, void, lines in (
    ("data set 250, head and padding left at 255", 250, ""),
    ("data set and head 250, padding left at 255", 250, "head['ignore_index'] = 250"),
    ("all three 250", 250, "head['ignore_index'] = 250; pre['seg_pad_val'] = 250"),
):
    data = make_set(TMP / "set", hw=(28, 48))
    for path in data.glob("masks/*/*.png"):
        mask = np.array(Image.open(path))
        mask[:3] = void
        save(mask, path)
    cfg = config(data, f"labeled['ignore_index'] = val_set['ignore_index'] = {void}\n{lines}\n")
    code, out = train(cfg)
    agrees = name.startswith("all")
    if (
        (code != 0)
        if agrees
        else not (code and says(out, "ignore_index") or code and says(out, "seg_pad_val"))
    ):
        wrong.append(f"{name}: {'trains' if code == 0 else tail(out, 1)}")
assert not wrong, "; ".join(wrong)
print("ok")
