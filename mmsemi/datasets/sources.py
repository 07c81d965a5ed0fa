# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Building one source of a :class:`~mmsemi.datasets.SemiDataset` from its config."""

from __future__ import annotations

import copy
import os
import os.path as osp

from mmengine.dataset import BaseDataset, Compose
from mmengine.logging import print_log
from mmseg.datasets.transforms import LoadAnnotations
from mmseg.registry import DATASETS
from torch.utils.data import Dataset

from ..launch import find_deliberate_message
from ..utils import check_keys
from .transforms import LoadCheckedAnnotations


def insert_mask_checks(dataset: BaseDataset) -> None:
    """Replace each stock ``LoadAnnotations`` of a dataset's pipeline by the checked one."""
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

    What reads masks and colour changes are left out (strong views are the preprocessor's), and
    ``RandomCrop`` does not look for a crop with several classes.

    Raises:
        ValueError: The config has no pipeline of its own.
    """
    while "pipeline" not in labeled and (labeled.get("datasets") or labeled.get("dataset")):
        labeled = labeled["datasets"][0] if labeled.get("datasets") else labeled["dataset"]
    if not labeled.get("pipeline"):
        raise ValueError(
            f"{where(labeled)} has no pipeline that unlabelled images could use: give "
            "train_dataloader.dataset.unlabeled a pipeline"
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


def where(config: dict) -> str:
    """Type and folder of a data set config, for messages."""
    prefix = config.get("data_prefix") or {}
    folder = config.get("img_dir") or prefix.get("img_path") or ""
    folder = osp.join(config.get("data_root") or "", folder)
    return f"{config.get('type')} at '{folder}'"


def build_dataset(source: str, config: dict) -> BaseDataset:
    """Build one source; stock complaints about its files become a line that names them."""
    try:
        dataset = DATASETS.build(config)
        dataset.full_init()
    except (AssertionError, FileNotFoundError, ValueError) as error:
        if find_deliberate_message(error) is not None:
            raise
        described = f"the {source} data set {where(config)}"
        if isinstance(error, UnicodeDecodeError):
            list_file = osp.join(config.get("data_root") or "", config.get("ann_file") or "")
            raise ValueError(
                f"{described}: '{list_file}' is no text with one image a line"
            ) from error
        if not isinstance(error, ValueError):  # mmseg asserts that ann_file exists
            text = f"{described}: {error} (searched from '{os.getcwd()}')"
            raise FileNotFoundError(text) from error
        # What stock mmengine says when it packs an empty list.
        if "at least one array" not in str(error):
            raise ValueError(f"{described}: {error}") from error
        dataset = ()
    if not len(dataset):
        raise ValueError(
            f"the {source} data set {where(config)} holds no image: check data_root, data_prefix, "
            "img_suffix and ann_file"
        )
    return dataset


def build_pooled(source: str, config: dict, labeled_set: BaseDataset) -> BaseDataset:
    """The labelled data set once more, for a source of its own with its own pipeline.

    Files are listed once: the samples are shared, and which of them belong to the source is the
    caller's choice.

    Args:
        source: Name of the source, for messages.
        config: ``pool='labeled'`` and, if it is not the labelled one, ``pipeline``.
        labeled_set: The labelled data set; in stock wrappers each part gets the pipeline.

    Raises:
        ValueError: The pool is another one, or a key is unknown.
    """
    key = f"train_dataloader.dataset.sources.{source}"
    if config["pool"] != "labeled":
        raise ValueError(
            f"{key}.pool={config['pool']!r} must be 'labeled', the images that the split labels; "
            "without pool the source is a data set of its own"
        )
    config = check_keys(config, dict(pool=None, pipeline=None), key)
    return _with_pipeline(labeled_set, config["pipeline"])


def _with_pipeline(dataset: BaseDataset, pipeline: list[dict] | None) -> BaseDataset:
    dataset = copy.copy(dataset)
    if hasattr(dataset, "datasets"):
        dataset.datasets = [_with_pipeline(part, pipeline) for part in dataset.datasets]
    elif isinstance(getattr(dataset, "dataset", None), Dataset):
        dataset.dataset = _with_pipeline(dataset.dataset, pipeline)
    elif pipeline is not None:
        dataset.pipeline = Compose(copy.deepcopy(pipeline))
    return dataset
