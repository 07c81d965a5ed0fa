# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""From the classes of images to a classifier's targets; what its training does with them is in test_mlmt.py."""

from __future__ import annotations

import pytest
import torch
from mmseg.structures import SegDataSample

from mmsemi.errors import DataError
from mmsemi.models.classifiers.image_targets import image_targets


def samples(*labels: tuple[int, ...] | None) -> list[SegDataSample]:
    made = [SegDataSample(metainfo=dict(img_path=f"{i}.png")) for i in range(len(labels))]
    for sample, classes in zip(made, labels):
        if classes is not None:
            sample.set_metainfo(dict(image_labels=classes))
    return made


def test_the_classes_of_an_image_are_1():
    """Without any class it is unknown which ones there are."""
    target, known = image_targets(samples((0, 2), (1,), ()), 3, torch.device("cpu"))
    assert target.tolist() == [[1, 0, 1], [0, 1, 0], [0, 0, 0]]
    assert known.tolist() == [True, True, False] and known.dtype == torch.bool


@pytest.mark.parametrize(
    ("labels", "named"),
    [
        (None, "'1.png' .*AddImageLabels"),
        ((1, 7), r"'1.png' .* 7, .* 3 .*model\.classifier\.head\.num_classes"),
    ],
)
def test_wrong_image_labels_name_the_image(labels, named):
    with pytest.raises(DataError, match=named):
        image_targets(samples((0,), labels), 3, torch.device("cpu"))
