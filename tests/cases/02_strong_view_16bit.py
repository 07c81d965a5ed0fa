# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""The strong view of images that are not 0..255 still shows the image.

After ultralytics/ultralytics#21113 and sanghyun-son/EDSR-PyTorch#256: satellite bands in 16 bit or float with
mean and std of their own. Training must either scale the colour operations to the range or refuse to.
"""

from __future__ import annotations

import cv2
import numpy as np
from _case import TMP, batch, config, make_set, says, tail, train

data = make_set(TMP / "set")
for path in data.glob("*/**/*.png"):
    if "masks" not in path.parts:
        cv2.imwrite(str(path), cv2.imread(str(path)).astype(np.uint16) * 15)  # 300..2850
cfg = config(
    data,
    """
sup_pipeline[0] = dict(type="LoadImageFromFile", color_type="unchanged", to_float32=True)
test_pipeline[0] = sup_pipeline[0]
pre.update(mean=[1500.0] * 3, std=[700.0] * 3)
model.update(type="FixMatch", threshold=0.5, strong=dict(type="StrongPhotometric"))
""",
)
code, out = train(cfg)
if code:
    assert says(out), tail(out)
    print("ok: refused: " + tail(out, 1))
else:
    runner, made = batch(cfg)
    weak = made["inputs"].unlabeled.pixels_NCHW
    strong = runner.model.strong_view(made["inputs"].unlabeled, made["inputs"])
    pixels = strong * 700 + 1500
    flat = float((pixels.std(dim=(2, 3)) < 1).float().mean())
    lost = float((pixels <= 256).float().mean())
    assert lost < 0.5, (
        f"the run succeeds, but {lost:.0%} of the strong view is cut to at most 255 of {float(weak.max() * 700 + 1500):.0f} "
        f"({flat:.0%} of the channels are one flat value)"
    )
    print("ok")
