# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Finding files of the project, loading a config, and checking what the command line sets in it."""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config, DictAction

from ..errors import ConfigError, close_matches, user_error
from .config_keys import READABLE, check_config_keys, nodes, places

PACKAGE = Path(__file__).resolve().parents[1]


def find_config(config: str) -> str:
    """The path of a config.

    Args:
        config: Its path, its path in the project (``configs/unimatch/voc_92.py``, from any folder),
            its name (``unimatch/voc_92``), or ``package::path``. ``.py`` may be left out.

    Raises:
        ConfigError: There is none; the message names those that resemble it.
    """
    if "::" in config:
        try:
            return Config._get_cfg_path(config, "")[0]
        except (ModuleNotFoundError, FileNotFoundError, ValueError, AssertionError) as error:
            raise ConfigError(str(error)) from None
    folders = [folder for root in _roots() for folder in (root, root / "configs")]
    for folder in folders:
        for name in (config, f"{config}.py"):
            if (folder / name).is_file():
                return str(folder / name)
    kind = "is a folder, not a config" if Path(config).is_dir() else "is no config"
    raise ConfigError(f"'{config}' {kind}{close_matches(config, _known_names(config))}")


def find_shipped(path: str) -> Path:
    """The file of a path from the working directory, or else from where mmsemi lies (``splits/nuclei/pool.txt``).

    Where there is neither, it is the path as given.
    """
    return next((root / path for root in _roots() if (root / path).is_file()), Path(path))


def _roots() -> list[Path]:
    """Where configs and lists are looked up: the working directory, the checkout, the wheel's data."""
    return [Path(), *(r for r in (PACKAGE.parent, PACKAGE / ".mim") if (r / "configs").is_dir())]


def _known_names(like: str) -> set[str]:
    """Names of the shipped configs, and of those in the folder of ``like``, written as ``like`` is."""
    prefix = "configs/" if like.startswith("configs/") else ""
    suffix = ".py" if like.endswith(".py") else ""
    names = set()
    for root in _roots():
        paths = (path.relative_to(root / "configs") for path in root.glob("configs/*/*.py"))
        names |= {
            prefix + p.with_suffix(suffix).as_posix() for p in paths if "_base_" not in p.parts
        }
    folder = Path(like).parent
    return names | {str(path.with_suffix(suffix)) for path in folder.glob("*.py")}


def short_path(path: str) -> str:
    """A path as a user would give it: from the working directory, or from the project's root."""
    resolved = Path(path).resolve()
    for root in _roots():
        if resolved.is_relative_to(root.resolve()):
            return str(resolved.relative_to(root.resolve()))
    return path


def load_config(path: str) -> Config:
    """Load a config file.

    Raises:
        ConfigError: Whatever is wrong in it, with the name of the file.
    """
    try:
        return Config.fromfile(path)
    except Exception as error:
        line = f", line {error.lineno}" if isinstance(error, SyntaxError) else ""
        reason = user_error(error) or f"{type(error).__name__}: {error}"
        raise ConfigError(f"config {path}{line} cannot be loaded: {reason}") from error


def read_config(name: str, options: Mapping[str, Any] | None = None) -> Config:
    """Find a config, load it and set the ``--cfg-options``.

    Raises:
        ConfigError: There is no such config, it cannot be loaded, an option cannot be set, or a
            setting is one that nothing reads.
    """
    config = load_config(find_config(name))
    set_options(config, options or {})
    check_config_keys(config)
    return config


def set_options(config: Config, options: Mapping[str, Any]) -> None:
    """Set ``--cfg-options`` in a config, in place.

    Deeper new keys get a note only: adding one is legal (``model.backbone.with_cp=True``).

    Raises:
        ConfigError: Neither the config nor the runner reads the first part of a key, it is a variable
            whose value other settings have already got, or the key leads through something that is
            no dictionary.
    """
    for key, value in spread_options(config, options).items():
        first = key.split(".")[0]
        if first not in config and first not in READABLE:
            raise ConfigError(
                f"--cfg-options {key}: {config.filename} has no '{first}'"
                f"{close_matches(first, READABLE | set(config))}"
            )
        is_variable = first in config and first not in READABLE and first != "gate"
        users = places(config, first) if is_variable else []
        if users:
            raise ConfigError(
                f"--cfg-options {key}: '{first}' is a variable of {config.filename} that nothing reads "
                f"any more: set what it stands for, {', '.join(users[:3])}"
            )
        _note_similar_key(key, config)
        try:
            config.merge_from_dict({key: value})
        except (TypeError, KeyError, AttributeError) as error:
            raise ConfigError(f"--cfg-options {key}={value} cannot be set: {error}") from error


def spread_options(config: Config, options: Mapping[str, Any]) -> dict[str, Any]:
    """Options with those for ``gate`` spread over the gates of all evaluators.

    A fused config (``configs/s4gan/*_fused.py``) has one for validation and one for the test:
    ``gate.scores=PATH`` is for both.

    Raises:
        ConfigError: There is an option for ``gate``, and no evaluator has one.
    """
    spread: dict[str, Any] = {}
    for key, value in options.items():
        if key.split(".")[0] != "gate":
            spread[key] = value
            continue
        evaluators = {name: config.get(name) for name in ("val_evaluator", "test_evaluator")}
        gates = [w for w, _ in nodes(evaluators, "") if w.split(".")[-1] == "gate"]
        if not gates:
            raise ConfigError(f"--cfg-options {key}: no evaluator of {config.filename} has a gate")
        for gate in [*(["gate"] if "gate" in config else []), *gates]:
            spread[gate + key.removeprefix("gate")] = value
    return spread


def parse_options(pairs: Sequence[str]) -> dict[str, Any]:
    """The values of ``--cfg-options KEY=VALUE ...``, read as mmengine reads them.

    Raises:
        ConfigError: One has no ``=``, or unbalanced brackets.
    """
    options = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise ConfigError(f"--cfg-options {pair}: expected KEY=VALUE")
        try:
            options[key] = DictAction._parse_iterable(value)
        except AssertionError as error:
            raise ConfigError(f"--cfg-options {pair}: {error}") from error
    return options


class CfgOptions(DictAction):
    """mmengine's action for ``--cfg-options``, with a readable refusal."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: Any = None) -> None:
        options = getattr(namespace, self.dest, None) or {}
        setattr(namespace, self.dest, {**options, **parse_options(values)})


def _note_similar_key(key: str, config: Config) -> None:
    node, where = config, []
    for part in key.split("."):
        if not hasattr(node, "keys"):
            return
        if part not in node:
            close = difflib.get_close_matches(part, list(node), n=1, cutoff=0.8)
            if where and close:
                note = f"adds the new key '{part}' to {'.'.join(where)}, which has '{close[0]}'"
                print(f"note: --cfg-options {note}", file=sys.stderr)
            return
        node = node[part]
        where.append(part)


def default_work_dir(config: str) -> str:
    """The stock rule, ``work_dirs/<config name>``, with the method's folder for shipped configs.

    A method and its baseline have configs of one name; in one folder, the second run would replace
    the checkpoints of the first.
    """
    path = Path(config).resolve()
    is_shipped = path.parent.parent.name == "configs"
    return os.path.join("work_dirs", path.parent.name if is_shipped else "", path.stem)
