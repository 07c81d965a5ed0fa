# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Settings as plain values: reading a config text without running it, and values for a checkpoint.

mmengine executes a config as Python. The one that it stores in a checkpoint is only assignments of
dictionaries, lists and constants, so reading these is enough, and a checkpoint from elsewhere can
run nothing.
"""

from __future__ import annotations

import ast
from typing import Any

from ..errors import ConfigError

_NAMES = {"inf": float("inf"), "nan": float("nan")}


def read_literal_config(text: str, where: str) -> dict[str, Any]:
    """The settings of a config that mmengine wrote (``Config.pretty_text``).

    Args:
        text: The config.
        where: Its origin, for the message.

    Raises:
        ConfigError: It holds something else than assignments of literals.
    """
    values: dict[str, Any] = {}
    try:
        for statement in ast.parse(text).body:
            if not isinstance(statement, ast.Assign) or len(statement.targets) != 1:
                raise ValueError(f"line {statement.lineno} is not an assignment")
            target = statement.targets[0]
            if not isinstance(target, ast.Name):
                raise ValueError(f"line {statement.lineno} does not assign to a name")
            values[target.id] = _read(statement.value)
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError) as error:
        raise ConfigError(
            f"{where} is not a config as mmengine writes it ({str(error) or type(error).__name__}); nothing of it was executed"
        ) from None
    return values


def _read(node: ast.expr) -> Any:
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Name) and node.id in _NAMES:
        return _NAMES[node.id]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        value = _read(node.operand)
        if isinstance(value, (int, float)):
            return -value
    if isinstance(node, (ast.List, ast.Tuple)):
        values = [_read(item) for item in node.elts]
        return values if isinstance(node, ast.List) else tuple(values)
    if isinstance(node, ast.Set):
        return {_read(item) for item in node.elts}
    if isinstance(node, ast.Dict) and None not in node.keys:
        return {_read(key): _read(value) for key, value in zip(node.keys, node.values)}
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "dict":
        named = all(keyword.arg for keyword in node.keywords)
        # dict({...}) is how mmengine writes keys that are no identifiers.
        if named and all(isinstance(argument, ast.Dict) for argument in node.args[:1]):
            values = _read(node.args[0]) if node.args else {}
            return {**values, **{keyword.arg: _read(keyword.value) for keyword in node.keywords}}
    raise ValueError(f"line {node.lineno} has '{ast.unparse(node)[:60]}'")


def to_plain(value: Any) -> Any:
    """A value made of numbers, strings, lists, tuples and dictionaries only."""
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, dict):
        return {to_plain(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return (list if isinstance(value, list) else tuple)(to_plain(item) for item in value)
    if hasattr(value, "tolist"):  # numpy and torch
        return to_plain(value.tolist())
    if isinstance(value, (int, float)):
        return int(value) if isinstance(value, int) else float(value)
    return str(value)
