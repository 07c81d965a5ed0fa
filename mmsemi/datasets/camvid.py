# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""CamVid (Brostow et al. 2009) with the 11 classes of SegNet (Badrinarayanan et al. 2017)."""

from __future__ import annotations

from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS


@DATASETS.register_module()
class CamVidDataset(BaseSegDataset):
    """Street scenes, 11 classes, plain folders ``images/{train,val}`` and ``labels/{train,val}``.

    Masks are grey PNGs with values 0-10 in the order of the classes below and 255 for everything
    else. Parked bicycles without a rider are 255, as in the SegNet conversion.

    Args:
        img_suffix: Suffix of the images.
        seg_map_suffix: Suffix of the masks.
        **kwargs: Arguments of :class:`mmseg.datasets.BaseSegDataset`, with for example
            ``data_root='data/camvid'`` and
            ``data_prefix=dict(img_path='images/train', seg_map_path='labels/train')``.
    """

    METAINFO = {
        "classes": (
            "Sky",
            "Building",
            "Pole",
            "Road",
            "Pavement",
            "Tree",
            "SignSymbol",
            "Fence",
            "Car",
            "Pedestrian",
            "Bicyclist",
        ),
        "palette": [
            [128, 128, 128],
            [128, 0, 0],
            [192, 192, 128],
            [128, 64, 128],
            [0, 0, 192],
            [128, 128, 0],
            [192, 128, 128],
            [64, 64, 128],
            [64, 0, 128],
            [64, 64, 0],
            [0, 128, 192],
        ],
    }

    def __init__(self, img_suffix: str = ".jpg", seg_map_suffix: str = ".png", **kwargs) -> None:
        super().__init__(img_suffix=img_suffix, seg_map_suffix=seg_map_suffix, **kwargs)
