# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Masks of unlabelled samples, for people to look at. Training never comes here."""

from __future__ import annotations

import torch
from mmcv.transforms import LoadImageFromFile
from mmengine.dataset import Compose
from mmseg.structures import SegDataSample
from torch import Tensor
from torch.utils.data import Dataset

from .semi_dataset import SemiDataset, seeded
from .transforms import LoadCheckedAnnotations


def load_truth(dataset: Dataset, sample: SegDataSample, image_3HW: Tensor) -> Tensor | None:
    """The mask of an unlabelled sample in the sample's own geometry, where there is one.

    A sample is a function of its file and its draw seed: the pipeline is run again with that seed
    and with the mask that the labelled data set holds for the file.

    Args:
        dataset: The training set.
        sample: An unlabelled sample of it, with ``img_path`` and ``draw_seed``.
        image_3HW: The pixels of the sample, to check that the second run gave the same ones.

    Returns:
        (H, W) integer labels; None if the file is not in the labelled data set, has no mask, or its
        sample cannot be repeated.
    """
    seed, path = sample.get("draw_seed"), sample.get("img_path")
    if not isinstance(dataset, SemiDataset) or seed is None:
        return None
    info = dataset.labeled_info(path)
    if info is None or "unlabeled" not in dataset.source_ranges:
        return None
    transforms = list(dataset.pipeline("unlabeled").transforms)
    start = next((i for i, t in enumerate(transforms) if isinstance(t, LoadImageFromFile)), None)
    if start is None:
        return None
    transforms.insert(start + 1, LoadCheckedAnnotations())
    try:
        with seeded(seed):
            again = Compose(transforms)(info)
    except (OSError, ValueError):
        return None
    if again is None or not torch.equal(again["inputs"], image_3HW.cpu()):
        return None
    return again["data_samples"].gt_sem_seg.data[0]
