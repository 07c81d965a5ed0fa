# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from mmengine.dataset import RepeatDataset
from mmseg.registry import DATASETS
from PIL import Image

from mmsemi.engine.hooks import MaskCheckHook


@pytest.mark.parametrize(
    "wrap", [lambda d: d, lambda d: RepeatDataset(d, 2)], ids=["plain", "repeat"]
)
def test_a_wrong_test_mask_is_named(val_config, wrap):
    dataset = wrap(DATASETS.build(val_config))
    loop = SimpleNamespace(dataloader=SimpleNamespace(dataset=dataset))
    mask = dataset.get_data_info(0)["seg_map_path"]
    Image.fromarray(np.full((40, 48), 9, np.uint8)).save(mask)
    dataset[0]  # the stock pipeline says nothing
    MaskCheckHook().before_test(SimpleNamespace(test_loop=loop))
    with pytest.raises(ValueError, match=r"value 9, but the data set has 3 classes"):
        dataset[0]
