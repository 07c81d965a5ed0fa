# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""The length of a training run, and what follows from it where a config says nothing.

Decisions:

- A config states the length once. Ends of schedules, validations, checkpoints and pictures follow
  from it when the run starts, so ``--cfg-options train_cfg.max_iters=...`` moves all of them.
- What a config does state is stock mmengine, and stays.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from numbers import Real
from typing import Any

from mmengine.optim.scheduler.param_scheduler import CosineAnnealingParamScheduler
from mmseg.registry import PARAM_SCHEDULERS
from torch.utils.data import DataLoader, Sampler

from ...errors import ConfigError
from ...utils import close_matches


def count_iterations(
    max_iters: float | None,
    epochs: float | None,
    epoch_of: str | None,
    dataset: Any,
    sampler: Sampler,
) -> int:
    """Iterations of a run that is given in iterations or in passes over a source.

    Args:
        max_iters: Iterations.
        epochs: Passes over a source.
        epoch_of: The source; ``None``: ``'unlabeled'`` if it is drawn from, else ``'labeled'``.
        dataset: The training set; ``source_ranges`` knows the number of images.
        sampler: The training sampler; ``num_per_source`` and ``world_size`` know the draws.

    Raises:
        ConfigError: None or both of the lengths are given, one is no positive number, or the source
            is unknown or not drawn from.
    """
    if (max_iters is None) == (epochs is None):
        raise ConfigError(
            f"train_cfg has max_iters={max_iters} and epochs={epochs}: give one of them and set the "
            "other to None"
        )
    if max_iters is not None:
        _check_positive("max_iters", max_iters)
        if int(max_iters) != max_iters:
            raise ConfigError(f"train_cfg.max_iters={max_iters} must be a whole number")
        if epoch_of is not None:
            raise ConfigError(
                f"train_cfg.epoch_of='{epoch_of}' belongs to epochs, not to max_iters"
            )
        return int(max_iters)
    _check_positive("epochs", epochs)
    counts = getattr(sampler, "num_per_source", None)
    if counts is None:
        raise ConfigError(
            f"train_cfg.epochs={epochs} needs the sources of a MultiSourceSampler, not of a "
            f"{type(sampler).__name__}: give max_iters"
        )
    source = epoch_of or ("unlabeled" if "unlabeled" in counts else "labeled")
    if source not in counts:
        raise ConfigError(
            f"train_cfg.epoch_of='{source}' is no source that train_dataloader.sampler.num_per_source"
            f" draws from ({', '.join(counts)}){close_matches(source, counts)}"
        )
    iterations = iterations_of(epochs, source, dataset, sampler)
    if iterations < 1:
        draws = counts[source] // sampler.copies[source] * sampler.world_size
        raise ConfigError(
            f"train_cfg.epochs={epochs} of '{source}' are no iteration: it has "
            f"{len(dataset.source_ranges[source])} images, and one iteration draws {draws}"
        )
    return iterations


def iterations_of(passes: float, source: str, dataset: Any, sampler: Sampler) -> int:
    """Iterations of passes over a source.

    A pass is what released code has with torch's ``DistributedSampler``: each process takes
    ceil(images / processes), and a last batch that would be incomplete is left out.

    Args:
        passes: How many.
        source: One that is drawn from.
        dataset: The training set; ``source_ranges`` knows the number of images.
        sampler: The training sampler; ``num_per_source`` and ``world_size`` know the draws.
    """
    images = math.ceil(len(dataset.source_ranges[source]) / sampler.world_size)
    # Copies of an image in one batch are one draw of it.
    return int(passes * (images // (sampler.num_per_source[source] // sampler.copies[source])))


def _check_positive(name: str, value: Any) -> None:
    if not isinstance(value, Real) or isinstance(value, bool) or value <= 0:
        raise ConfigError(f"train_cfg.{name}={value!r} must be a positive number")


def fill_batch_size(loader: DataLoader | dict) -> None:
    """Give a loader's config the batch size that the counts of its sampler add up to."""
    if isinstance(loader, dict) and "batch_size" not in loader:
        counts = (loader.get("sampler") or {}).get("num_per_source")
        if counts:
            loader["batch_size"] = sum(counts.values())


def fill_base_batch_size(auto_scale_lr: dict | None, num_per_source: dict[str, int]) -> None:
    """``base_batch_size`` from ``base_labeled``, the labelled images that the learning rate is for.

    The ratio by which mmengine scales is then that of the labelled images, whatever the batch holds
    beside them.
    """
    if auto_scale_lr and "base_labeled" in auto_scale_lr and "labeled" in num_per_source:
        images_each = sum(num_per_source.values()) / num_per_source["labeled"]
        auto_scale_lr.setdefault("base_batch_size", auto_scale_lr["base_labeled"] * images_each)


def complete_schedulers(config: Any, max_iters: int) -> Any:
    """Parameter schedulers that count iterations and end with the run where they say nothing else.

    Args:
        config: ``param_scheduler`` of a runner: one, a list, or a dict of either by optimiser.
        max_iters: Length of the run.

    Returns:
        The same structure with ``by_epoch``, ``end`` and ``T_max`` filled in.

    Raises:
        ConfigError: A scheduler counts epochs, of which the run has one.
    """
    if isinstance(config, dict) and "type" in config:
        return _complete(config, max_iters)
    if isinstance(config, dict):
        return {name: complete_schedulers(part, max_iters) for name, part in config.items()}
    if isinstance(config, (list, tuple)):
        return [complete_schedulers(part, max_iters) for part in config]
    return config  # None, or one that is built


def _complete(config: dict, max_iters: int) -> dict:
    kind = (
        PARAM_SCHEDULERS.get(config["type"]) if isinstance(config["type"], str) else config["type"]
    )
    if kind is None or getattr(kind, "need_val_args", False):
        return config
    if config.get("by_epoch") or config.get("convert_to_iter_based"):
        raise ConfigError(
            f"param_scheduler: {kind.__name__} has by_epoch=True, but the run counts iterations: "
            "remove it and give begin and end in iterations"
        )
    filled = {"by_epoch": False, **config}
    if "end" not in filled:
        # Schedules reach their last value at `end - 1`; a cosine has half its period for it.
        filled["end"] = max_iters + 1
        if issubclass(kind, CosineAnnealingParamScheduler):
            filled.setdefault("T_max", max_iters - filled.get("begin", 0))
    return filled


def ends_elsewhere(config: Any, max_iters: int) -> Iterator[str]:
    """Names of the last schedulers (one for each optimiser) that do not end with the run."""
    if isinstance(config, dict) and "type" not in config:
        for part in config.values():
            yield from ends_elsewhere(part, max_iters)
        return
    parts: Iterable = config if isinstance(config, (list, tuple)) else [config]
    ends = [
        (part["end"], part["type"]) for part in parts if isinstance(part, dict) and "end" in part
    ]
    if ends and max(ends)[0] not in (max_iters, max_iters + 1):
        yield f"{max(ends)[1]} ends at iteration {max(ends)[0]}"
