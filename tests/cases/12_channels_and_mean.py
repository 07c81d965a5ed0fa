# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Images with 4 bands, mean and std still of 3 (and 1-band images with 3).

After open-mmlab/mmsegmentation#3567, #2351 and #3251. A message that names mean and std, not a broadcast error; and no
silent copy of one band into three channels of a network for three.
"""

from __future__ import annotations

import numpy as np
from _case import TMP, config, make_set, save, says, tail, train
from PIL import Image

data = make_set(TMP / "set")
for path in data.glob("*/**/*.png"):
    if "masks" not in path.parts:
        rgb = np.asarray(Image.open(path))
        save(np.dstack([rgb, rgb[..., :1]]), path)
lines = """
sup_pipeline[0] = dict(type="LoadImageFromFile", color_type="unchanged")
test_pipeline[0] = sup_pipeline[0]
net["backbone"]["in_channels"] = 4
"""
wrong = []
code, out = train(config(data, lines, "three.py"))
if code == 0 or not says(out, "mean"):
    wrong.append("mean of 3 for 4 bands: " + tail(out, 1))
code, out = train(
    config(
        data, lines + "pre.update(mean=[120.0] * 4, std=[60.0] * 4, bgr_to_rgb=False)\n", "four.py"
    )
)
if code:
    wrong.append("mean of 4 for 4 bands: " + tail(out, 1))
gray = make_set(TMP / "gray")
code, out = train(
    config(
        gray,
        """
sup_pipeline[0] = dict(type="LoadImageFromFile", color_type="grayscale")
test_pipeline[0] = sup_pipeline[0]
net["backbone"]["in_channels"] = 1
""",
        "gray.py",
    )
)
if code == 0 or not says(out, "mean"):
    wrong.append("mean of 3 for 1 band: " + tail(out, 1))
assert not wrong, "; ".join(wrong)
print("ok")
