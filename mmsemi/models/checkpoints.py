# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Checkpoints of other kinds: a plain mmseg one, or one of another method, fills every network."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from mmengine.logging import print_log
from torch import nn

# Where networks live in checkpoints of any method; '' is a plain mmseg checkpoint.
_FOREIGN_PREFIXES = ("student.", "teacher.", "branches.0.", "")


def spread_checkpoint(
    state_dict: dict, prefix: str, own_names: Sequence[str], net: nn.Module, method: str
) -> list[str]:
    """Fill the networks that a checkpoint lacks from one that it has, in place.

    Args:
        state_dict: The checkpoint's weights.
        prefix: Prefix of the model in it.
        own_names: Prefixes of the model's networks, e.g. ``['student.', 'teacher.']``.
        net: One of the (equal) networks.
        method: The model's class name, for messages.

    Returns:
        The own networks that the checkpoint had.

    Raises:
        RuntimeError: No entry matches a parameter, by name or by shape.
    """
    shapes = {key: tuple(value.shape) for key, value in net.state_dict().items()}
    found = {
        name: [key for key in shapes if prefix + name + key in state_dict]
        for name in dict.fromkeys((*own_names, *_FOREIGN_PREFIXES))
    }
    found = {name: keys for name, keys in found.items() if keys}
    if not found:
        raise RuntimeError(
            f"the checkpoint matches no parameter of {method}: it has {_some(state_dict)}, the "
            f"model has {_some(own_names[0] + key for key in shapes)}"
        )
    _refuse_other_shapes(state_dict, prefix, shapes, found, method)
    present = [name for name in own_names if name in found]
    if len(present) == len(own_names):
        return present
    source = prefix + next(iter(found))
    values = {key: state_dict[source + key] for key in found[next(iter(found))]}
    if not present:
        for key in values:
            del state_dict[source + key]
    missing = [prefix + name for name in own_names if name not in found]
    for target in missing:
        state_dict.update({target + key: value for key, value in values.items()})
    print_log(
        f"checkpoint entries '{source}*' loaded into {', '.join(prefix + n for n in own_names)} "
        f"({len(values)} of {len(shapes)} entries)",
        "current",
    )
    return present


def _refuse_other_shapes(
    state_dict: dict, prefix: str, shapes: dict, found: dict[str, list[str]], method: str
) -> None:
    """A checkpoint of another width or depth would leave every weight random."""
    pairs = [
        (key, tuple(state_dict[prefix + name + key].shape))
        for name, keys in found.items()
        for key in keys
        if shapes[key]  # a counter has the same shape, (), everywhere
    ]
    if pairs and not any(shape == shapes[key] for key, shape in pairs):
        key, shape = pairs[0]
        raise RuntimeError(
            f"the checkpoint fits no parameter of {method}: '{key}' is {shape} in the checkpoint "
            f"and {shapes[key]} in the model; is it of another config?"
        )


def _some(keys: Iterable[str], count: int = 3) -> str:
    keys = list(keys)
    shown = ", ".join(f"'{key}'" for key in keys[:count])
    return f"{shown}{', ...' if len(keys) > count else ''}" if keys else "no entries"
