# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
from __future__ import annotations

import torch
from mmseg.structures import SegDataSample

from mmsemi.structures import Images, SemiBatch


def test_images_say_how_many_how_large_and_from_where():
    """An unknown file has its number, so that no two images look like one."""
    pixels = torch.zeros(2, 3, 4, 5)
    samples = [SegDataSample(metainfo=dict(img_path="a.png")), SegDataSample()]
    images = Images(pixels, pixels, torch.ones(2, 4, 5, dtype=torch.bool), samples)
    assert len(images) == 2 and images.size_hw == (4, 5)
    assert images.paths == ["a.png", "1"] and images.labels_NHW is None


def test_batches_do_not_share_their_further_sources():
    first, second = SemiBatch(None), SemiBatch(None)
    first.sources["gt"] = None
    assert second.sources == {} and second.unlabeled is None and second.generator is None
