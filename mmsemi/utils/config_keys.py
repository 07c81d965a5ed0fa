# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Keys of a config that nothing reads: a setting is used or refused.

A config is Python, so any name may stand at the top level: a value that stands elsewhere in the config
too is a variable of it. What resembles a setting and stands nowhere else is a misspelt one.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any

from mmengine.runner import Runner

from ..errors import ConfigError, close_matches
from .config import check_keys

#: Keys that are read from the config beside the arguments of mmengine's Runner.
_EXTRA_KEYS = (
    "activation_checkpointing",
    "compile",
    "detect_anomalous_params",
    "find_unused_parameters",
    "model_wrapper_cfg",
    "runner_type",
    "strategy",
    "sync_bn",
    "test_pipeline",
    "tta_model",
    "tta_pipeline",
)
#: Every top-level key that something reads.
READABLE = frozenset(
    {*inspect.signature(Runner.__init__).parameters, *_EXTRA_KEYS} - {"self", "cfg"}
)
#: Where settings of mmseg 0.x, and of this project's first edition, are now.
_MOVED = dict(
    lr_config="param_scheduler",
    optimizer_config="optim_wrapper",
    checkpoint_config="default_hooks.checkpoint",
    log_config="default_hooks.logger",
    evaluation="val_evaluator and train_cfg.val_interval",
    runner="train_cfg",
    semi_train_cfg="model",
    semi_test_cfg="model",
)
#: Dictionaries from which mmengine takes the keys that it knows, and ignores the others.
_SECTIONS = dict(
    env_cfg=("cudnn_benchmark", "mp_cfg", "dist_cfg", "resource_limit"),
    auto_scale_lr=("enable", "base_batch_size", "base_labeled"),
    randomness=("seed", "diff_rank_seed", "deterministic"),
)


def check_config_keys(config: Mapping[str, Any]) -> None:
    """Refuse keys that look like settings and that nothing reads.

    Raises:
        ConfigError: There is one; the message names the settings that resemble it.
    """
    for key, value in config.items():
        if key in READABLE or key.endswith("_pipeline") or callable(value):
            continue
        if key in _MOVED and isinstance(value, Mapping) and not places(config, key):
            raise ConfigError(f"the config has '{key}', which nothing reads: see {_MOVED[key]}")
        is_flag = value is None or isinstance(value, (bool, int, float))
        similar = close_matches(key, READABLE, cutoff=0.85)
        if similar and (is_flag or not places(config, key)):
            raise ConfigError(f"the config has '{key}', which nothing reads{similar}")
    for name, known in _SECTIONS.items():
        if isinstance(config.get(name), Mapping):
            check_keys(config[name], dict.fromkeys(known), name)


def places(config: Mapping[str, Any], variable: str) -> list[str]:
    """Where in what is read of a config the value of a top-level key stands too, as dotted keys."""
    value = config[variable]
    read = {key: node for key, node in config.items() if key in READABLE}
    return [where for where, node in nodes(read, "") if type(node) is type(value) and node == value]


def nodes(node: Any, where: str) -> Iterator[tuple[str, Any]]:
    """Every value below a node, with its dotted key."""
    if isinstance(node, Mapping):
        children = node.items()
    else:
        children = enumerate(node) if isinstance(node, (list, tuple)) else ()
    for key, child in children:
        path = f"{where}.{key}" if where else str(key)
        yield path, child
        yield from nodes(child, path)
