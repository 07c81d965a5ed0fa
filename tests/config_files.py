# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Shipped configs for the tests: read once, built without weights."""

from __future__ import annotations

import copy
import functools
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import torch
from mmengine.config import Config, ConfigDict
from mmseg.registry import MODELS

from mmsemi.datasets.pipelines import fill_crop_size, weak_pipeline
from mmsemi.datasets.splits.protocols import get_protocol
from mmsemi.engine.loops.run_length import complete_schedulers

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
#: Published shares of labels: one image of so many.
RATIOS = (16, 8, 4, 2)
NAMES = sorted(
    f"{path.parent.name}/{path.stem}"
    for path in CONFIGS.glob("*/*.py")
    if path.parent.name != "_base_"
)


def read(name: str) -> Config:
    """A config by folder and stem, e.g. 'unimatch/voc_92', as a copy that a test may change."""
    return copy.deepcopy(_read(name))


@functools.cache
def _read(name: str) -> Config:
    return Config.fromfile(CONFIGS / f"{name}.py")


def on_meta(model: dict) -> torch.nn.Module:
    """A published net without its weights, and without memory for them."""
    model = copy.deepcopy(model)
    network = model["segmentor" if "segmentor" in model else "classifier"]
    network["backbone"]["init_cfg"] = None
    return _on_meta(json.dumps(model))


@functools.cache
def _on_meta(model: str) -> torch.nn.Module:
    model = ConfigDict(json.loads(model))
    if "classifier" in model:  # mmpretrain reads values of tensors while it builds
        return MODELS.build(model).to("meta")
    with torch.device("meta"):
        return MODELS.build(model)


def files_to_open(path: Path) -> set[Path]:
    """A config and all that it is made of, but for the runtime that all share."""
    found = {path.resolve()} - {(CONFIGS / "_base_" / "default_runtime.py").resolve()}
    for base in Config._get_base_files(str(path)):
        found |= files_to_open(path.parent / base)
    return found


def pipelines(config: Config) -> Iterator[tuple[str, list]]:
    """The training pipelines by source, as :class:`SemiDataset` completes them."""
    dataset = copy.deepcopy(config.train_dataloader.dataset)
    sources = [dataset.labeled, dataset.unlabeled, *(dataset.get("sources") or {}).values()]
    fill_crop_size(sources, dataset.get("crop_size"))
    yield "labeled", dataset.labeled.pipeline
    yield "unlabeled", dataset.unlabeled.get("pipeline") or weak_pipeline(dataset.labeled)
    for name, source in (dataset.get("sources") or {}).items():
        if "pipeline" in source:
            yield name, source.pipeline


def validation_interval(config: Config) -> int:
    """Iterations between validations, as the loop derives them."""
    length = config.train_cfg
    return length.get("val_interval") or int(length.max_iters / length.get("num_validations", 10))


def schedules(config: Config) -> list[dict]:
    """The parameter schedulers, as the loop completes them."""
    return complete_schedulers(config.param_scheduler, config.train_cfg.max_iters)


def total_batch(config: Config) -> int:
    """Images of a batch of all GPUs of the published run."""
    counts = config.train_dataloader.sampler.num_per_source
    return config.auto_scale_lr.base_labeled * sum(counts.values()) // counts.labeled


def check_all(names: Iterable[str], check: Callable[[str, Config], Iterator[str]]) -> None:
    """Run a check, which yields what is wrong, on configs."""
    found = {name: list(check(name, read(name))) for name in names}
    failures = [f"{name}: {fault}" for name, faults in found.items() for fault in faults]
    assert found and not failures, "\n".join(failures)


# ---------------------------------------------------------------- comparing with published settings

POLY = dict(power=0.9, begin=0, eta_min=0)


def differing(found: dict, expected: dict) -> list[str]:
    """What is not as expected, as text."""
    return [
        f"{key} is {found.get(key)!r}, published {value!r}"
        for key, value in expected.items()
        if found.get(key) != value
    ]


def settings_of(config: Config) -> dict:
    """What is published of a run, by names of this page."""
    counts, dataset = (
        config.train_dataloader.sampler.num_per_source,
        config.train_dataloader.dataset,
    )
    (schedule,), wrapper = schedules(config), config.optim_wrapper
    labels = (dataset.split or {}).get("name")
    return dict(
        batch=tuple(counts.get(name, 0) for name in ("labeled", "unlabeled", "gt")),
        total=total_batch(config),
        iterations=config.train_cfg.max_iters,
        validations_each=validation_interval(config),
        optimizer=wrapper.optimizer.to_dict(),
        paramwise=dict(wrapper.get("paramwise_cfg", {})),
        schedule={key: schedule.get(key, 0) for key in POLY},
        labels=labels,
        labeled=get_protocol(labels).labeled.count if labels else None,
        pool=dataset.unlabeled.get("pool", "rest"),
        crop=dataset.get("crop_size"),
    )


def sgd(lr: float, weight_decay: float, **kwargs) -> dict:
    return dict(type="SGD", lr=lr, momentum=0.9, weight_decay=weight_decay, **kwargs)
