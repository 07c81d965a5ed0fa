# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""What a :class:`~mmsemi.datasets.SemiDataset` does to the pipelines of its sources."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterator

from mmcv.transforms import CenterCrop
from mmengine.dataset import BaseDataset, Compose
from mmengine.logging import print_log
from mmseg.datasets.transforms import LoadAnnotations
from mmseg.registry import TRANSFORMS

from ..errors import ConfigError
from .transforms import LoadCheckedAnnotations

# Where a config of a data set or of a transform may hold further transforms.
_NESTED = ("pipeline", "datasets", "dataset", "transforms")


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
    """Replace each stock ``LoadAnnotations`` of a data set's pipeline by the checked one."""
    wrapped = getattr(dataset, "dataset", None)  # of a RepeatDataset; `datasets`: a ConcatDataset
    for part in (*getattr(dataset, "datasets", ()), *((wrapped,) if wrapped is not None else ())):
        insert_mask_checks(part)
    pipeline = getattr(dataset, "pipeline", None)
    if not isinstance(pipeline, Compose):
        return
    classes = dataset.metainfo.get("classes")
    for position, transform in enumerate(pipeline.transforms):
        if type(transform) is LoadAnnotations:
            pipeline.transforms[position] = LoadCheckedAnnotations(
                num_classes=len(classes) if classes else None,
                ignore_index=getattr(dataset, "ignore_index", 255),
                imdecode_backend=transform.imdecode_backend,
                backend_args=transform.backend_args,
            )


# Steps of a labelled pipeline that make no sense without a mask, or change colours.
_NEEDS_MASK_OR_COLOUR = (
    "LoadAnnotations",
    "AddImageLabels",
    "PhotoMetricDistortion",
    "GenerateEdge",
)


def weak_pipeline(labeled: dict) -> list[dict]:
    """The labelled source's pipeline as far as it makes sense without a mask: geometry only.

    What reads masks and colour changes are left out (strong views are drawn in the step), and
    ``RandomCrop`` does not look for a crop with several classes.

    Raises:
        ConfigError: The config has no pipeline of its own.
    """
    while "pipeline" not in labeled and (labeled.get("datasets") or labeled.get("dataset")):
        labeled = labeled["datasets"][0] if labeled.get("datasets") else labeled["dataset"]
    if not labeled.get("pipeline"):
        raise ConfigError(
            f"the labelled data set {labeled.get('type')} has no pipeline that unlabelled images "
            "could use: set train_dataloader.dataset.unlabeled.pipeline"
        )
    pipeline = []
    for transform in copy.deepcopy(labeled["pipeline"]):
        if transform["type"] in _NEEDS_MASK_OR_COLOUR:
            continue
        if transform["type"] == "RandomCrop":
            transform["cat_max_ratio"] = 1.0
        pipeline.append(transform)
    steps = ", ".join(str(transform["type"]) for transform in pipeline)
    print_log(f"unlabelled images get the labelled pipeline without masks: {steps}", "current")
    return pipeline


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
    cls = (
        TRANSFORMS.get(config["type"])
        if isinstance(config.get("type"), str)
        else config.get("type")
    )
    parameter = _crop_size_parameter(cls)
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


def _crop_size_parameter(cls: object) -> inspect.Parameter | None:
    """The argument ``crop_size`` of a class, which may pass it on to its base."""
    for base in cls.__mro__ if isinstance(cls, type) else ():
        if "__init__" not in vars(base):
            continue
        parameters = inspect.signature(base.__init__).parameters
        if "crop_size" in parameters:
            return parameters["crop_size"]
        if all(p.kind is not p.VAR_KEYWORD for p in parameters.values()):
            return None
    return None
