# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""What a training step is given, and what it says about unlabelled images.

Shape suffixes: N images, C channels, H rows, W columns.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from mmseg.structures import SegDataSample
from torch import BoolTensor, Generator, LongTensor, Tensor


@dataclass
class Images:
    """The images of one source in a batch, stacked and on the device.

    Attributes:
        pixels_NCHW: Normalised float images; for unlabelled ones the weak view.
        rgb_NCHW: The same before normalisation, which strong views start from: uint8, or float32
            where an image of the batch is no 8-bit one.
        valid_NHW: False on padding.
        samples: mmseg's samples, with file names and, if there is a mask, ``gt_sem_seg``.
        labels_NHW: Class indices, the ignored value on padding; None without masks.
        range_N2: Darkest and brightest value of each image, which are 0 and 1 to strong views; None
            where it is [0, 255] for all.
    """

    pixels_NCHW: Tensor
    rgb_NCHW: Tensor
    valid_NHW: BoolTensor
    samples: list[SegDataSample]
    labels_NHW: LongTensor | None = None
    range_N2: Tensor | None = None

    def __len__(self) -> int:
        return len(self.pixels_NCHW)

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width."""
        return tuple(self.pixels_NCHW.shape[-2:])

    @property
    def paths(self) -> list[str]:
        """Image file of each image; its number in the batch where the file is unknown."""
        return [s.metainfo.get("img_path", str(i)) for i, s in enumerate(self.samples)]


class CropPair(NamedTuple):
    """Where two crops of one image show the same; metainfo ``crop_pair`` of their samples.

    Attributes:
        first: (top, bottom, left, right) of the overlap in the first crop as it lies in the image, in
            pixels of features.
        second: The same in the second crop.
        flips: Whether each crop is to be flipped from left to right.
        stride: Pixels of the image to a pixel of the features.
    """

    first: tuple[int, int, int, int]
    second: tuple[int, int, int, int]
    flips: tuple[bool, bool]
    stride: int


#: The source that holds the second crops of unlabelled pairs; the first ones are ``unlabeled``.
SECOND_CROP = "second_crop"

#: The source of images with stored pseudo-labels.
PSEUDO = "pseudo"


@dataclass
class SemiBatch:
    """A batch by source.

    Attributes:
        labeled: Labelled images.
        unlabeled: Unlabelled images, if the batch has any.
        sources: Further sources by name, e.g. ``gt``, or ``second_crop`` of images that come in pairs.
        generator: CPU generator of everything random in the step; None is torch's global one.
    """

    labeled: Images
    unlabeled: Images | None = None
    sources: dict[str, Images] = field(default_factory=dict)
    generator: Generator | None = None


class PseudoLabels(NamedTuple):
    """What a network says about images, without gradient.

    Attributes:
        label_NHW: Likeliest class.
        confidence_NHW: Its probability, float32; 1 for a true label.
        certainty_N: Confidence in the whole image, see
            :func:`~mmsemi.models.forward.image_certainty`; None unless a mix asks for it.
    """

    label_NHW: LongTensor
    confidence_NHW: Tensor
    certainty_N: Tensor | None = None


@dataclass
class Shown:
    """What a method shows of its pseudo-labels.

    Attributes:
        images: Unlabelled images.
        pseudo: Pseudo-labels of their weak views.
        views_BCHW: The student's views, normalised.
        target_BHW: Label of each view; the ignored value where the method keeps none.
        first_B: The image that each view starts from.
    """

    images: Images
    pseudo: PseudoLabels
    views_BCHW: Tensor
    target_BHW: LongTensor
    first_B: LongTensor
