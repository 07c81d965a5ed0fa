# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""RGB-coded masks read by the user's own loader, and a folder of unlabelled images.

After open-mmlab/mmsegmentation#2471, #1572 and #3617; docs/adversarial_walkthrough.md: "another format: a transform in
the place of LoadAnnotations". Unlabelled images have no masks: the loader must not run on them.
"""

from __future__ import annotations

import numpy as np
from _case import TMP, config, make_set, save, tail, train
from PIL import Image

data = make_set(TMP / "set")
colours = np.array([[0, 0, 0], [128, 0, 0], [0, 128, 0]], np.uint8)
for path in data.glob("masks/*/*.png"):
    save(colours[np.asarray(Image.open(path))], path)
(TMP / "my_loader.py").write_text("""
import numpy as np
from PIL import Image
from mmcv.transforms import BaseTransform
from mmseg.registry import TRANSFORMS


@TRANSFORMS.register_module()
class ReadColourMask(BaseTransform):
    def transform(self, results):
        rgb = np.asarray(Image.open(results["seg_map_path"]).convert("RGB"))
        results["gt_seg_map"] = ((rgb[..., 0] > 0) + 2 * (rgb[..., 1] > 0)).astype(np.uint8)
        results["seg_fields"].append("gt_seg_map")
        return results
""")
cfg = config(
    data,
    """
custom_imports = dict(imports=["mmsemi", "my_loader"], allow_failed_imports=False)
sup_pipeline[1] = test_pipeline[1] = dict(type="ReadColourMask")
""",
)
code, out = train(cfg)
assert code == 0, tail(out, 1)
print("ok")
