# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Configs that are data: those in checkpoints, and YAML and JSON files. Only a Python file is code.

Settings without any code in them still act when something is built from them: mmengine imports
whatever module a dotted ``type``, a scope or ``custom_imports`` names, and a weight file or address
is read. So every type must be one that is registered already, by a package that the user has imported
or by an installed OpenMMLab package, and what names files in a checkpoint's config is left out.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from importlib import import_module
from typing import Any

import mmengine.registry
from mmengine.config.utils import MODULE2PACKAGE
from mmengine.registry import Registry

from ..errors import ConfigError, close_matches
from .literals import read_literal_config

#: Keys whose text mmengine looks up in a registry, and imports if it is not there.
_TYPE_KEYS = frozenset(
    (
        "type",
        "runner_type",
        "constructor",
        "collate_fn",
        "worker_init_fn",
        "auto_wrap_policy",
        "param_init_fn",
        "init_fn",
    )
)
#: Keys by which mmengine imports ``<scope>.registry``.
_SCOPE_KEYS = frozenset(("default_scope", "_scope_"))
#: What a checkpoint's config says about the machine it was written on.
_LEFT_OUT = frozenset(("custom_imports", "load_from", "resume_from", "vis_backends"))
#: What is None instead, since a class may read a file of its own choice by default.
_SET_TO_NONE = frozenset(("init_cfg", "pretrained"))
_FILE_KEY = re.compile(r"(^|_)(dir|file|path|root|folder)$|outfile_prefix")
_FILE_VALUE = re.compile(
    r"[/\\]|^~|\.(pth?|pkl|pickle|ckpt|bin|safetensors|np[yz]|json|ya?ml|py|txt|csv|h5|onnx|zip)$",
    re.IGNORECASE,
)
#: Places of a data set, which say nothing to anyone but its reader.
_DATA_KEYS = frozenset(("data_root", "ann_file", "data_prefix", "img_path", "seg_map_path"))
_MAX_VALUES, _MAX_DEPTH = 1_000_000, 100


def read_stored_config(text: str, where: str) -> tuple[dict[str, Any], list[str]]:
    """The config out of a checkpoint: literals, registered types, no files but those of data sets.

    Args:
        text: As mmengine writes it (``Config.pretty_text``).
        where: Its origin, for messages.

    Returns:
        The config, and the names of the settings that were left out since they name files.

    Raises:
        ConfigError: It is no literal, or has a type that nothing registers.
    """
    config = read_literal_config(text, where)
    check_data(config, where)
    left_out: list[str] = []
    return _without_files(config, "", left_out), left_out


def check_data(config: Any, where: str) -> None:
    """Refuse what would import or become code.

    Raises:
        ConfigError: A type or scope that nothing registers; a key that mmengine would write into a
            config as code, or a text that it would replace there; more than a million values.
    """
    for name, key, value in _entries(config, where):
        if not isinstance(key, (str, int)) or re.search(r"['\"\\\n\r{}]", str(key)):
            raise ConfigError(f"{where} has the key {key!r}, which is no name of a setting")
        if isinstance(value, str) and "{{" in value:
            raise ConfigError(f"{where}: {name} has '{{{{', which a config file would replace")
        if key in _TYPE_KEYS and not isinstance(value, (dict, list, tuple, type(None))):
            check_type(value, f"{where}: {name}")
        if key in _SCOPE_KEYS and value is not None and value not in _scopes():
            raise ConfigError(f"{where}: {name}={value!r} is the scope of no registry")


def check_type(name: Any, where: str) -> None:
    """Refuse a type that is not registered; nothing is imported to find it.

    Raises:
        ConfigError: With names that resemble it.
    """
    if isinstance(name, str) and _is_registered(name):
        return
    known = {key for registry in _registries() for key in registry.module_dict}
    raise ConfigError(
        f"{where}='{name}' is no registered type{close_matches(name, known)}; a config that is data "
        "imports nothing: name the training's config as a Python file (--config), which may import "
        "modules of your own, or import them first"
    )


def _entries(config: Any, where: str) -> Iterator[tuple[str, Any, Any]]:
    """Dotted name, key and value of every entry at any depth, a list's with the list's key."""
    pending: list[tuple[str, Any, Any, int]] = [("", None, config, 0)]
    count = 0
    while pending:
        name, key, value, depth = pending.pop()
        count += 1
        if count > _MAX_VALUES or depth > _MAX_DEPTH:
            raise ConfigError(
                f"{where} has more than {_MAX_VALUES} values, or more than {_MAX_DEPTH} in each other"
            )
        if key is not None:
            yield name, key, value
        if isinstance(value, dict):
            items = [(f"{name}.{k}".lstrip("."), k, item) for k, item in value.items()]
        elif isinstance(value, (list, tuple, set)):
            items = [(f"{name}.{i}", key, item) for i, item in enumerate(value)]
        else:
            continue
        pending += [(*item, depth + 1) for item in items]


def _registries() -> list[Registry]:
    """All registries that are there, with what their packages register."""
    found = [item for item in vars(mmengine.registry).values() if isinstance(item, Registry)]
    for registry in found:  # which grows
        registry.import_from_location()
        found += registry.children.values()
    return found


def _scopes() -> set[str]:
    return {registry.scope for registry in _registries()}


def _is_registered(name: str) -> bool:
    scope, _, rest = name.partition(".")
    if scope in MODULE2PACKAGE and scope not in _scopes():
        with suppress(ImportError):  # an OpenMMLab package that is not installed
            import_module(f"{scope}.registry")
    registries = _registries()
    if not rest:
        return any(name in registry.module_dict for registry in registries)
    if any(registry.scope == scope and rest in registry.module_dict for registry in registries):
        return True
    # As a pure-Python config is written down: the class by its module.
    found = _loaded_object(name)
    return any(found is one for registry in registries for one in registry.module_dict.values())


def _loaded_object(name: str) -> Any:
    """What mmengine would import by a dotted name, if it is imported already."""
    parts = name.split(".")
    for end in range(1, len(parts)):
        module = sys.modules.get(".".join(parts[:end]))
        if module is None:
            return None
        found = vars(module).get(parts[end])
        if found is not None and not inspect.ismodule(found):
            return found if end == len(parts) - 1 else None
    return None


def _without_files(node: Any, name: str, left_out: list[str], is_data: bool = False) -> Any:
    """A copy without the settings that name files or addresses."""
    if isinstance(node, (list, tuple)):
        return type(node)(
            _without_files(item, f"{name}.{i}", left_out, is_data) for i, item in enumerate(node)
        )
    if not isinstance(node, dict):
        return node
    kept = {}
    for key, value in node.items():
        if key in _LEFT_OUT:
            continue
        below = f"{name}.{key}".lstrip(".")
        if key in _SET_TO_NONE:
            kept[key] = None
            continue
        is_place = is_data or key in _DATA_KEYS
        if _names_file(key, value, is_place):
            left_out.append(below)
        else:
            kept[key] = _without_files(value, below, left_out, is_place)
    return kept


def _names_file(key: Any, value: Any, is_place: bool) -> bool:
    if isinstance(value, (list, tuple)):
        # Names of classes are no files, whatever is in them.
        return key != "classes" and any(_names_file(key, item, is_place) for item in value)
    if not isinstance(value, str) or key in _TYPE_KEYS:
        return False
    if is_place:
        return "://" in value
    return bool(_FILE_VALUE.search(value)) or (bool(value) and bool(_FILE_KEY.search(str(key))))
