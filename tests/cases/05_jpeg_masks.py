# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Masks stored as JPEG, whose values compression changes.

After JCruan519/EGE-UNet#13 and open-mmlab/mmsegmentation#2471. Training must not run on altered labels without a word.
"""

from __future__ import annotations

import numpy as np
from _case import TMP, config, make_set, save, says, tail, train
from PIL import Image

data = make_set(TMP / "set", classes=3)
changed = 0
for path in list(data.glob("masks/*/*.png")):
    mask = np.asarray(Image.open(path))
    mask = mask.copy()
    for row in range(2, 38, 6):  # thin things, one grey level from their surroundings
        mask[row : row + 2, row % 5 :: 7] = (mask[row, row % 5] + 1) % 3
    saved = save(mask, path.with_suffix(".jpg"), quality=90)
    changed += int((np.asarray(Image.open(saved)) != mask).sum())
    path.unlink()
assert changed > 100
code, out = train(config(data, 'labeled["seg_map_suffix"] = val_set["seg_map_suffix"] = ".jpg"\n'))
said = [
    line
    for line in out.splitlines()
    if "jpeg" in line.lower() and ("WARNING" in line or "error" in line)
]
assert said or (code and says(out, "jpeg")), (
    f"{changed} pixels have another value than was saved; {'the run succeeds' if code == 0 else tail(out, 1)}"
)
print("ok: " + (said or [tail(out, 1)])[0])
