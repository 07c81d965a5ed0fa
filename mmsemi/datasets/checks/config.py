# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""All rules on all files that a config trains, validates and tests with.

The data sets themselves say which files these are: they are built as the runner would build them.
"""

from __future__ import annotations

import copy
import os
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from mmseg.registry import DATASETS
from torch.utils.data import Dataset

from ...errors import user_error
from ..building import build_dataset, build_sources
from ..pipelines import check_crop_size
from ..semi_dataset import SemiDataset
from ..sources import Source
from .findings import Finding, Hit
from .rules import RULES, judge
from .scan import Task, scan_files
from .survey import Survey
from .void_faults import void_of_config


@dataclass
class Check:
    """The result of a check.

    Attributes:
        survey: What was looked at.
        findings: What was found.
        train_dataset: The training set, None if it cannot be built.
        seconds: What reading the files took.
    """

    survey: Survey
    findings: list[Finding] = field(default_factory=list)
    train_dataset: Dataset | None = None
    seconds: float = 0.0

    @property
    def files(self) -> int:
        """How many files were read."""
        return len(self.survey.found)


def check_config(
    config: Mapping, workers: int = 1, progress: Callable[[int, int], None] | None = None
) -> Check:
    """Check all files that a loaded config names.

    Args:
        config: With at least one of the three loaders.
        workers: Processes that read files.
        progress: Told how many files are done, of how many.
    """
    result = _collect(config)
    started = time.perf_counter()
    result.survey.found = scan_files(plan(result.survey), workers, progress)
    result.seconds = time.perf_counter() - started
    result.survey.contents = {
        path: facts.content
        for (kind, path), facts in result.survey.found.items()
        if kind == "image" and facts.content
    }
    result.findings += judge(result.survey)
    return result


def plan(survey: Survey) -> list[Task]:
    """The files to read; masks of unlabelled images are not among them."""
    masks = {survey.real_path(path) for path in survey.masks}
    tasks: list[Task] = []
    for source in survey.sources:
        for image, mask, part in source.items:
            if mask and part.has_plain_masks:
                tasks.append(("mask", mask, part.backend_args))
            if part.has_plain_images and survey.real_path(image) not in masks:
                tasks.append(("image", image, part.backend_args))
    return tasks


def classes_of_config(model: Mapping) -> tuple[str, int | None]:
    """Where a model's config sets its number of classes, and that number, None if it says none."""
    outer = next((key for key in ("segmentor", "classifier") if model.get(key)), "")
    name = "head" if outer == "classifier" else "decode_head"
    head = (model.get(outer) or model).get(name)
    head = head[-1] if isinstance(head, (list, tuple)) and head else head
    setting = f"model.{outer}.{name}.num_classes" if outer else f"model.{name}.num_classes"
    return setting, head.get("num_classes") if isinstance(head, Mapping) else None


def _collect(config: Mapping) -> Check:
    """The sources of the three loaders, with a finding for everything that could not be built."""
    sources: list[Source] = []
    findings: list[Finding] = []
    train_dataset = None
    datasets = {r: (config.get(f"{r}_dataloader") or {}).get("dataset") for r in _ROLES}
    for role, part in datasets.items():
        if not part or (role == "test" and _same_files(datasets["val"] or {}, part)):
            continue
        key = f"{role}_dataloader.dataset"
        try:
            dataset = _build(role, part)
        except Exception as error:
            errors, built = {"": error}, {}
            if role == "train" and _is_semi(part):
                errors, built = _take_apart(part, error)
            sources += built.values()
            findings += [
                _cannot_be_built(f"{key}.{name}" if name else key, one)
                for name, one in errors.items()
            ]
            continue
        is_semi = isinstance(dataset, SemiDataset)
        sources += dataset.sources.values() if is_semi else [Source.of_stock(role, dataset)]
        train_dataset = dataset if role == "train" else train_dataset
    model = config.get("model") or {}
    setting, num_classes = classes_of_config(model)
    survey = Survey(
        sources,
        hidden_masks=train_dataset.hidden_masks() if isinstance(train_dataset, SemiDataset) else (),
        split=(datasets["train"] or {}).get("split") or {},
        num_classes=num_classes,
        classes_setting=setting,
        void=void_of_config(model),
    )
    return Check(survey, findings, train_dataset)


_ROLES = ("train", "val", "test")


def _same_files(first: Mapping, second: Mapping) -> bool:
    """Whether two data sets are the same but for their pipelines."""
    first, second = ({k: v for k, v in one.items() if k != "pipeline"} for one in (first, second))
    return first == second


def _is_semi(config: Mapping) -> bool:
    kind = config.get("type")
    kind = DATASETS.get(kind) if isinstance(kind, str) else kind
    return isinstance(kind, type) and issubclass(kind, SemiDataset)


def _build(role: str, config: Mapping) -> Dataset:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        config = copy.deepcopy(config)
        return DATASETS.build(config) if _is_semi(config) else build_dataset(role, config)


def _take_apart(
    config: Mapping, whole: Exception
) -> tuple[dict[str, Exception], dict[str, Source]]:
    """What is wrong with each source of a SemiDataset that cannot be built, and the other sources."""
    settings = {k: config[k] for k in ("labeled", "unlabeled", "split", "sources") if k in config}
    try:
        built = build_sources(**settings, crop_size=check_crop_size(config.get("crop_size")))
    except Exception:  # a setting of the whole, which its own error names
        return {"": whole}, {}
    return built.errors or {"": whole}, built.sources


def _cannot_be_built(key: str, error: Exception) -> Finding:
    text = str(user_error(error) or error) or type(error).__name__
    values = dict(reason=text.strip().splitlines()[0], key=key, folder=os.getcwd())
    return RULES["dataset-cannot-be-built"].finding(Hit(key, values=values, count=1))
