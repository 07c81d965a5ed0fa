# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""A mask of 180 million pixels (an orthophoto): Pillow refuses it as a decompression bomb.

After jbwang1997/BboxToolkit#3, wkentaro/labelme#519 and weecology/DeepForest#1324. The image (OpenCV) loads, so the mask
must load, or the message must name the way out.
"""

from __future__ import annotations

import cv2
import numpy as np
from _case import TMP, make_set

side = 13400
data = make_set(TMP / "set", train=0, more=2)
big = np.zeros((side, side), np.uint8)
big[side // 2 :] = 1
big[:, side // 2 :] = 2
for folder in ("images", "masks"):
    (data / folder / "train").mkdir(parents=True)
cv2.imwrite(str(data / "masks/train/ortho.png"), big, [cv2.IMWRITE_PNG_COMPRESSION, 1])
info = dict(
    img_path="x",
    seg_map_path=str(data / "masks/train/ortho.png"),
    reduce_zero_label=False,
    label_map=None,
    seg_fields=[],
    img_shape=(side, side),
    ori_shape=(side, side),
)
import mmsemi  # noqa: E402, F401
from mmsemi.datasets import LoadCheckedAnnotations  # noqa: E402

try:
    mask = LoadCheckedAnnotations(num_classes=3)(info)["gt_seg_map"]
except Exception as error:
    text = f"{type(error).__name__}: {error}"
    assert "imdecode_backend" in text or "tile" in text.lower(), text
    print("ok: " + text)
else:
    print(f"ok: {mask.shape}")
