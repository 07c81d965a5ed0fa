# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Two classes with masks of 0 and 255, as most annotation tools write them.

After open-mmlab/mmsegmentation#1609, #2111 and PaddlePaddle/PaddleSeg#1110. 255 is "ignore", so that the object
is never trained. The run must stop, or say that 255 is what is ignored.
"""

from __future__ import annotations

import numpy as np
from _case import TMP, config, make_set, save, tail, train
from PIL import Image

data = make_set(TMP / "set", classes=2)
for path in data.glob("masks/*/*.png"):
    save(np.asarray(Image.open(path)) * 255, path)
cfg = config(
    data,
    """
classes = ("ground", "object")
for one in (labeled, val_set):
    one["metainfo"] = dict(classes=classes)
head.update(num_classes=2)
""",
)
code, out = train(cfg)
said = [
    line
    for line in out.splitlines()
    if "255" in line
    and ("ignore" in line.lower() or "void" in line.lower())
    and "ignore_index" not in line.split("=")[0]
    and "pad" not in line
]
print("\n".join(line for line in out.splitlines() if "no labelled pixel" in line))
assert code or said, (
    "the run succeeds; nothing says that the masks hold 0 and 255 and that 255 is ignored"
)
print("ok: " + (said or [tail(out, 1)])[0])
