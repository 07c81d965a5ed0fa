# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""The settings of a row: its resolved config, and one hash of all that it says."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import fields
from functools import cache
from typing import Any

from mmengine.config import Config
from mmseg.registry import MODELS

from mmsemi.utils.config_files import parse_options, read_config
from mmsemi.utils.config_keys import READABLE

from .code import ROOT, file_hash
from .rows import Protocol, Row

#: Settings of every run: the same numbers each time, IoU per class in the log, one checkpoint.
OPTIONS = (
    "randomness.deterministic=True",
    "val_evaluator.type=ClassIoUMetric",
    "default_hooks.checkpoint.save_best=None",
    "default_hooks.checkpoint.max_keep_ckpts=1",
)
#: Settings of methods that name the first iteration of a part of them.
FIRST_ITERATIONS = ("copy_start", "start_iter", "unsup_adv_start", "unsup_start", "warmup_iters")
#: Hooks that look at a training and change none of its numbers.
WATCHERS = ("diagnosis", "progress", "pseudo_labels", "report")


@cache
def row_config(row: Row, *options: str) -> Config:
    """The resolved config of a row with further options, for any seed; not to be changed."""
    return read_config(row.config, parse_options((*OPTIONS, *row.options, *options)))


def from_the_first_step(row: Row) -> tuple[str, ...]:
    """Options with which every part of a row's method works from the first iteration on."""
    known = {field.name for field in fields(MODELS.get(row_config(row).model.type).Settings)}
    return tuple(f"model.{name}=0" for name in FIRST_ITERATIONS if name in known)


@cache
def settings_hash(protocol: Protocol, row: Row) -> str:
    """One hash of all settings of a row and of the row it starts from.

    Left out are the seed, which is a key of the results, the work dir, hooks that only look, and the
    folders of absolute paths. A list or table of the repository that a setting names counts with its content.
    """
    config = row_config(row)
    settings = {
        key: value for key, value in config.to_dict().items() if key in {*READABLE, "self_training"}
    }
    for name in ("work_dir", "resume", "launcher"):
        settings.pop(name, None)
    hooks = settings["default_hooks"]
    settings["default_hooks"] = {k: v for k, v in hooks.items() if k not in WATCHERS}
    settings["randomness"] = {k: v for k, v in settings["randomness"].items() if k != "seed"}
    if row.start:
        start = settings_hash(protocol, protocol.row(row.start))
        settings["load_from"] = [start, start] if row.has_second else start
    text = json.dumps(_without_places(settings), sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _without_places(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _without_places(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_places(part) for part in value]
    if isinstance(value, str):
        if os.path.isabs(value):
            return os.path.basename(value)
        if value.endswith((".txt", ".json")) and (ROOT / value).is_file():
            return f"{value} {file_hash(ROOT / value)}"
    return value
