# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""COCO 2017 (Lin et al. 2014) as semantic segmentation: 80 object classes and background."""

from __future__ import annotations

from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS


def voc_palette(num_colours: int) -> list[list[int]]:
    """The colours of PASCAL VOC, continued: each class number's bits, spread over red, green, blue."""
    palette = []
    for number in range(num_colours):
        colour = [0, 0, 0]
        for level in range(8):
            for channel in range(3):
                colour[channel] |= (number >> (3 * level + channel) & 1) << (7 - level)
        palette.append(colour)
    return palette


@DATASETS.register_module()
class COCO81Dataset(BaseSegDataset):
    """81 classes, as in PseudoSeg and UniMatch; the stock COCO data sets are those of COCO-Stuff.

    Masks are PNGs with 0 = background, 1-80 = the object classes in the order of COCO's category
    ids, and 255 = ignore. ``tools/dataset_converters/coco.py`` makes or checks them.

    Args:
        img_suffix: Suffix of the images.
        seg_map_suffix: Suffix of the masks.
        **kwargs: Arguments of :class:`mmseg.datasets.BaseSegDataset`, with for example
            ``data_root='data/coco'`` and
            ``data_prefix=dict(img_path='train2017', seg_map_path='masks')``.
    """

    METAINFO = {
        "classes": (
            *("background", "person", "bicycle", "car", "motorcycle", "airplane", "bus", "train"),
            *("truck", "boat", "traffic light", "fire hydrant", "stop sign", "parking meter"),
            *("bench", "bird", "cat", "dog", "horse", "sheep", "cow", "elephant", "bear", "zebra"),
            *("giraffe", "backpack", "umbrella", "handbag", "tie", "suitcase", "frisbee", "skis"),
            *("snowboard", "sports ball", "kite", "baseball bat", "baseball glove", "skateboard"),
            *("surfboard", "tennis racket", "bottle", "wine glass", "cup", "fork", "knife"),
            *("spoon", "bowl", "banana", "apple", "sandwich", "orange", "broccoli", "carrot"),
            *("hot dog", "pizza", "donut", "cake", "chair", "couch", "potted plant", "bed"),
            *("dining table", "toilet", "tv", "laptop", "mouse", "remote", "keyboard"),
            *("cell phone", "microwave", "oven", "toaster", "sink", "refrigerator", "book"),
            *("clock", "vase", "scissors", "teddy bear", "hair drier", "toothbrush"),
        ),
        "palette": voc_palette(81),
    }

    def __init__(self, img_suffix: str = ".jpg", seg_map_suffix: str = ".png", **kwargs) -> None:
        super().__init__(img_suffix=img_suffix, seg_map_suffix=seg_map_suffix, **kwargs)
