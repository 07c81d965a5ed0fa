# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""``mmsemi print-config``: a config with all that it inherits, each value with the file that set it.

What is printed is itself a config (without KEY), and says the same as the one it was made from.
"""

from __future__ import annotations

import argparse
import ast
import keyword
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config

from ..errors import ConfigError, close_matches
from ..utils.config_files import CfgOptions, find_config, load_config, set_options, short_path

Key = tuple[str, ...]
#: Where comments begin, unless the line is longer.
_COLUMN = 64
#: Up to this length a list is written on one line.
_WIDTH = 88


def leaves(node: Mapping, key: Key = ()) -> Iterator[tuple[Key, Any]]:
    """Every value that is no dictionary, with the keys that lead to it."""
    for name, value in node.items():
        if isinstance(value, Mapping) and value:
            yield from leaves(value, (*key, name))
        else:
            yield (*key, name), value


def trace(path: str) -> dict[Key, tuple[Any, str]]:
    """The values of a config file, its bases included, each with the file that set it.

    A value that a file repeats as it is in its base is the base's, also below another key, as in
    ``model = dict(_base_.method, ...)``.
    """
    if Config._is_lazy_import(path):  # Python imports instead of _base_: not traced
        return {key: (value, path) for key, value in leaves(Config.fromfile(path).to_dict())}
    inherited: dict[Key, tuple[Any, str]] = {}
    for base in Config._get_base_files(path):
        inherited.update(trace(Config._get_cfg_path(base, path)[0]))
    copied = taken_from_base(Path(path))
    traced = {}
    for key, value in leaves(Config._file2dict(path)[0]):
        places = [key, (*copied[key[0]], *key[1:])] if key[0] in copied else [key]
        origins = [inherited[place] for place in places if place in inherited]
        traced[key] = next((one for one in origins if one[0] == value), (value, path))
    return traced


def taken_from_base(path: Path) -> dict[str, Key]:
    """Variable of a Python config -> the key of its base that it is made of.

    Those assigned as ``_base_.KEY`` or ``dict(_base_.KEY, ...)``.
    """
    taken: dict[str, Key] = {}
    statements = ast.parse(path.read_text(encoding="utf-8")).body if path.suffix == ".py" else ()
    for node in statements:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            value = node.value
            if isinstance(value, ast.Call) and ast.unparse(value.func) == "dict" and value.args:
                value = value.args[0]
            base, *keys = ast.unparse(value).split(".")
            if base == "_base_" and keys and all(map(_is_name, keys)):
                taken[node.targets[0].id] = tuple(keys)
    return taken


def select(config: Mapping, key: str) -> Any:
    """The value at a dotted key.

    Raises:
        ConfigError: The config has none.
    """
    node: Any = config
    for part in key.split("."):
        if not isinstance(node, Mapping) or part not in node:
            known = node if isinstance(node, Mapping) else ()
            raise ConfigError(f"the config has no '{key}'{close_matches(part, known)}")
        node = node[part]
    return node


def write(value: Any) -> str:
    """A value as Python."""
    if isinstance(value, Mapping):
        if all(_is_name(name) for name in value):
            return f"dict({', '.join(f'{name}={write(one)}' for name, one in value.items())})"
        return f"{{{', '.join(f'{name!r}: {write(one)}' for name, one in value.items())}}}"
    if type(value) in (list, tuple):
        items = ", ".join(map(write, value))
        one_tuple = "," if len(value) == 1 else ""
        return f"[{items}]" if isinstance(value, list) else f"({items}{one_tuple})"
    if isinstance(value, float) and not math.isfinite(value):
        return f"float('{value}')"
    return repr(value)


def _is_name(key: Any) -> bool:
    return isinstance(key, str) and key.isidentifier() and not keyword.iskeyword(key)


def lines(
    value: Any, key: Key, origins: Mapping[Key, str], start: str, end: str, indent: str = ""
) -> Iterator[str]:
    """Lines of Python for a value, the origin as a comment on each line that begins one."""
    inner = indent + "    "
    if isinstance(value, Mapping) and value:
        named = all(_is_name(name) for name in value)
        yield f"{indent}{start}{'dict(' if named else '{'}"
        for name, one in value.items():
            begin = f"{name}=" if named else f"{name!r}: "
            yield from lines(one, (*key, name), origins, begin, ",", inner)
        yield f"{indent}{')' if named else '}'}{end}"
        return
    text = f"{indent}{start}{write(value)}{end}"
    comment = f"# {origins[key]}"
    if type(value) in (list, tuple) and value and len(text) > _WIDTH:
        opening, closing = "[]" if isinstance(value, list) else "()"
        yield f"{indent + start + opening:<{_COLUMN}}  {comment}"
        yield from (f"{inner}{write(item)}," for item in value)
        yield f"{indent}{closing}{end}"
    else:
        yield f"{text:<{_COLUMN}}  {comment}"


def parse_args(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description="Show a config with all that it inherits, and which file set each value."
    )
    parser.add_argument("config", help="path or name")
    parser.add_argument("key", nargs="?", help="a part of it, e.g. model.segmentor")
    parser.add_argument("--cfg-options", nargs="+", action=CfgOptions, default={})
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line of ``mmsemi print-config``."""
    args = parse_args(arguments)
    path = find_config(args.config)
    config = load_config(path)
    traced = trace(path)
    set_options(config, args.cfg_options)
    content = config.to_dict()
    origins = {
        key: short_path(traced[key][1])
        if key in traced and traced[key][0] == value
        else "--cfg-options"
        for key, value in leaves(content)
    }
    parts = {args.key: select(content, args.key)} if args.key else content
    for name, value in parts.items():
        print("\n".join(lines(value, tuple(name.split(".")), origins, f"{name} = ", "")))
