# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""A data set class that overrides prepare_data (a file format of its own, several images a file).

After open-mmlab/mmsegmentation#3713, #2940 and #3474. mmengine's documented way to load one's own format is
prepare_data; the labelled source must go through it, or refuse the class.
"""

from __future__ import annotations

import numpy as np
from _case import TMP, config, make_set, save, says, tail, train
from PIL import Image

data = make_set(TMP / "set")
for path in data.glob("masks/*/*.png"):  # instances: 1..2 in the tens
    save(np.asarray(Image.open(path)) * 10, path)
(TMP / "my_set.py").write_text('''
import numpy as np
from PIL import Image
from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS


@DATASETS.register_module()
class TensSet(BaseSegDataset):
    """Masks hold class * 10; the pipeline starts with loaded arrays."""

    def prepare_data(self, idx):
        info = self.get_data_info(idx)
        info["img"] = np.asarray(Image.open(info["img_path"]))[..., ::-1].copy()
        info["gt_seg_map"] = np.asarray(Image.open(info["seg_map_path"])) // 10
        info["seg_fields"] = ["gt_seg_map"]
        info["img_shape"] = info["ori_shape"] = info["img"].shape[:2]
        return self.pipeline(info)
''')
cfg = config(
    data,
    """
custom_imports = dict(imports=["mmsemi", "my_set"], allow_failed_imports=False)
labeled["type"] = "TensSet"
labeled["pipeline"] = sup_pipeline[2:]
unlabeled["pipeline"] = [sup_pipeline[0], *sup_pipeline[2:]]
val_dataloader = val_cfg = val_evaluator = test_dataloader = test_cfg = test_evaluator = None
""",
)
code, out = train(cfg)
assert code == 0 or says(out, "prepare_data"), tail(out, 1)
print("ok: " + tail(out, 1))
