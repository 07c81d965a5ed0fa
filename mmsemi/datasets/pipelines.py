# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""What a :class:`~mmsemi.datasets.SemiDataset` does to the pipelines of its sources."""

from __future__ import annotations

import copy
import inspect
import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from mmcv.transforms import CenterCrop, RandomChoice
from mmcv.transforms import LoadAnnotations as MaskLoader
from mmengine.dataset import BaseDataset, Compose
from mmengine.logging import print_log
from mmseg.datasets.transforms import GenerateEdge, LoadAnnotations, PhotoMetricDistortion
from mmseg.registry import TRANSFORMS

from ..errors import ConfigError
from .transforms import AddImageLabels, ColorJitter, LoadCheckedAnnotations

# Where a config of a data set or of a transform may hold further transforms.
_NESTED = ("pipeline", "datasets", "dataset", "transforms")


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed the global generators, which transforms use, for a while.

    They are put back, so that a process that loads in its main thread (num_workers=0) has the same
    random stream as one that does not.
    """
    states = random.getstate(), np.random.get_state(), torch.random.get_rng_state()
    try:
        random.seed(seed)
        np.random.seed(seed % 2**32)
        torch.default_generator.manual_seed(seed)
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.random.set_rng_state(states[2])


def walk_transforms(transform: object) -> Iterator[object]:
    """All transforms of a built pipeline, those inside ``RandomChoice`` and the like too."""
    if isinstance(transform, (list, tuple)):
        for part in transform:
            yield from walk_transforms(part)
    elif getattr(transform, "transforms", None) is not None:
        yield from walk_transforms(transform.transforms)
    elif transform is not None:
        yield transform


def insert_mask_checks(dataset: BaseDataset) -> None:
    """Replace each stock ``LoadAnnotations``, at any depth of a pipeline, by the checked one.

    A subclass of it, or any other loader, stays as it is.
    """
    wrapped = getattr(dataset, "dataset", None)  # of a RepeatDataset; `datasets`: a ConcatDataset
    for part in (*getattr(dataset, "datasets", ()), *((wrapped,) if wrapped is not None else ())):
        insert_mask_checks(part)
    pipeline = getattr(dataset, "pipeline", None)
    if isinstance(pipeline, Compose):
        classes = dataset.metainfo.get("classes")
        num_classes = len(classes) if classes else None
        ignore_index = getattr(dataset, "ignore_index", 255)
        replace_mask_loaders(pipeline.transforms, LoadCheckedAnnotations, num_classes, ignore_index)


def replace_mask_loaders(
    steps: list,
    checked: type[LoadCheckedAnnotations],
    num_classes: int | None,
    ignore_index: int,
) -> None:
    """Replace each stock ``LoadAnnotations`` among transforms, at any depth, by a checked one, in place.

    Args:
        steps: Built transforms.
        checked: The class of the new loaders.
        num_classes: See :class:`~mmsemi.datasets.transforms.LoadCheckedAnnotations`.
        ignore_index: See there.
    """
    for position, step in enumerate(steps):
        nested = step if isinstance(step, list) else getattr(step, "transforms", None)
        if type(step) is LoadAnnotations:
            steps[position] = checked.in_place_of(step, num_classes, ignore_index)
        elif nested is not None:
            # Some hold a Compose in the place of a list.
            nested = getattr(nested, "transforms", nested)
            replace_mask_loaders(nested, checked, num_classes, ignore_index)


def refuse_mask_loaders(dataset: BaseDataset) -> None:
    """Refuse a plain data set of unlabelled images whose pipeline loads masks.

    Raises:
        ConfigError: It does.
    """
    for step in walk_transforms(getattr(dataset, "pipeline", None)):
        if isinstance(step, MaskLoader):
            raise ConfigError(
                f"the pipeline of an unlabelled source has {type(step).__name__}: unlabelled images "
                "have no masks, remove that transform"
            )


# What unlabelled images cannot have, or get in the step: loaders of masks, what reads masks, colour.
_LEFT_OUT = (MaskLoader, AddImageLabels, GenerateEdge, ColorJitter, PhotoMetricDistortion)


def weak_pipeline(labeled: dict, sample: Mapping | None = None) -> list[dict]:
    """The labelled source's pipeline as far as it makes sense without a mask: geometry only.

    What reads masks and colour changes are left out (strong views are drawn in the step), and random
    crops do not look for several classes, at any depth. A transform is known by its class, so that
    scoped names, classes in the place of names and subclasses count; a user's own one by what it asks
    for when it gets a sample without a mask.

    Args:
        labeled: Config of the labelled data set.
        sample: What that data set says of one of its samples; without it only known classes are left
            out.

    Raises:
        ConfigError: The config has no pipeline of its own, or one that loads no image.
    """
    while "pipeline" not in labeled and (labeled.get("datasets") or labeled.get("dataset")):
        labeled = labeled["datasets"][0] if labeled.get("datasets") else labeled["dataset"]
    name = getattr(labeled.get("type"), "__name__", labeled.get("type"))
    advice = "set train_dataloader.dataset.unlabeled.pipeline"
    if not labeled.get("pipeline"):
        raise ConfigError(
            f"the labelled data set {name} has no pipeline that unlabelled images could use: {advice}"
        )
    probe = _MasklessSample(sample or {})
    with seeded(0):
        pipeline = [_without_mask(step, probe) for step in copy.deepcopy(labeled["pipeline"])]
    pipeline = [step for step in pipeline if step is not None]
    if probe.failure is not None and probe.failure.args == ("img",):
        raise ConfigError(
            f"nothing in the pipeline of the labelled data set {name} loads '{sample['img_path']}': if "
            f"the data set does so itself, {advice}"
        )
    steps = ", ".join(_name_of(step) for step in pipeline)
    print_log(f"unlabelled images get the labelled pipeline without masks: {steps}", "current")
    return pipeline


def without_masks(steps: Sequence[Mapping]) -> list[dict]:
    """The configs of a pipeline's transforms without those that read masks or change colours at random."""
    kept = (_without_mask(step, _MasklessSample({})) for step in copy.deepcopy(list(steps)))
    return [step for step in kept if step is not None]


def transform_class(step: object) -> type | None:
    """The class that the config of a transform names, by (scoped) name or as it is."""
    kind = step.get("type") if isinstance(step, Mapping) else type(step)
    kind = TRANSFORMS.get(kind) if isinstance(kind, str) else kind
    return kind if isinstance(kind, type) else None


def _name_of(step: object) -> str:
    kind = step.get("type") if isinstance(step, Mapping) else type(step)
    return getattr(kind, "__name__", str(kind))


class _NeedsMask(Exception):
    """A transform asks for what an unlabelled sample does not have."""


class _MasklessSample(dict):
    """A sample of a labelled data set as an unlabelled one would be, to see what asks for more.

    Attributes:
        failure: The first error of a transform that is not about the mask.
    """

    def __init__(self, labeled: Mapping) -> None:
        kept = dict(reduce_zero_label=False, label_map=None, seg_fields=[])
        super().__init__({k: kept.get(k, labeled[k]) for k in (*kept, "img_path") if k in labeled})
        self.absent = set(labeled) - set(self) - {"sample_idx"}
        self.failure: Exception | None = None

    def __missing__(self, key: str) -> Any:
        raise (_NeedsMask if key in self.absent or key.startswith("gt_") else KeyError)(key)

    def get(self, key: str, default: Any = None) -> Any:
        """As of any dictionary, but for the keys of a labelled sample."""
        return self[key] if key in self.absent and key not in self else super().get(key, default)


def _without_mask(step: Any, probe: _MasklessSample) -> Any:
    """A transform's config for images without masks, None if nothing of it is left."""
    if isinstance(step, (list, tuple)):
        return [part for part in (_without_mask(one, probe) for one in step) if part is not None]
    cls = transform_class(step)
    if cls is not None and issubclass(cls, _LEFT_OUT):
        return None
    if isinstance(step, dict) and step.get("transforms"):
        inside = step["transforms"]
        inside = inside if isinstance(inside, (list, tuple)) else [inside]
        parts = [_without_mask(part, probe) for part in inside]
        if not any(parts):
            return None
        if issubclass(cls, RandomChoice):  # which may give each of them a probability
            step["transforms"] = [part or [] for part in parts]
        else:
            step["transforms"] = [part for part in parts if part is not None]
        return step
    if isinstance(step, dict) and _parameter(cls, "cat_max_ratio") is not None:
        step["cat_max_ratio"] = 1.0
    return step if _works(step, probe) else None


def _works(step: Any, probe: _MasklessSample) -> bool:
    """Whether a transform does not ask for a mask; any other failure is none of this."""
    if "img_path" not in probe:
        return True
    try:
        step = TRANSFORMS.build(copy.deepcopy(step)) if isinstance(step, dict) else step
        made = step(probe)
        if isinstance(made, dict) and made is not probe and "img" in made:
            probe.update(made)
    except _NeedsMask:
        return False
    except Exception as error:  # of the image, or of a setting: loading shows it, with the file
        probe.failure = probe.failure or error
    return True


def check_crop_size(crop_size: object) -> tuple[int, int] | None:
    """A crop size as (height, width); one number is both, None is none.

    Raises:
        ConfigError: It is something else.
    """
    if crop_size is None:
        return None
    size = tuple(crop_size) if isinstance(crop_size, (list, tuple)) else (crop_size, crop_size)
    if len(size) != 2 or not all(isinstance(side, int) and side > 0 for side in size):
        raise ConfigError(
            f"train_dataloader.dataset.crop_size={crop_size} must be (height, width) in pixels"
        )
    return size


def fill_crop_size(config: object, crop_size: tuple[int, int] | None) -> int:
    """Give the crop size to each transform that takes a ``crop_size`` and does not set it.

    Args:
        config: Config of a data set, changed in place; transforms are found at any depth.
        crop_size: (height, width), None if there is none to give.

    Returns:
        How many transforms took it.

    Raises:
        ConfigError: A transform cannot do without, and there is none.
    """
    if isinstance(config, (list, tuple)):
        return sum(fill_crop_size(part, crop_size) for part in config)
    if not isinstance(config, dict):
        return 0
    taken = sum(fill_crop_size(config.get(key), crop_size) for key in _NESTED)
    cls = transform_class(config)
    parameter = _parameter(cls, "crop_size")
    if parameter is None or config.get("crop_size") is not None:
        return taken
    if crop_size is None:
        if parameter.default is parameter.empty:
            raise ConfigError(
                f"{cls.__name__} needs a crop_size: set train_dataloader.dataset.crop_size="
                "(height, width), which gives it to all transforms"
            )
        return taken
    # The only stock transform that takes (width, height).
    config["crop_size"] = crop_size[::-1] if issubclass(cls, CenterCrop) else crop_size
    return taken + 1


def _parameter(cls: type | None, name: str) -> inspect.Parameter | None:
    """An argument of a class, which may pass it on to its base."""
    for base in cls.__mro__ if isinstance(cls, type) else ():
        if "__init__" not in vars(base):
            continue
        parameters = inspect.signature(base.__init__).parameters
        if name in parameters:
            return parameters[name]
        if all(p.kind is not p.VAR_KEYWORD for p in parameters.values()):
            return None
    return None
