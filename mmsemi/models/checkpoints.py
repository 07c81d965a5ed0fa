# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Checkpoints of other kinds: a plain mmseg one, or one of another method, fills every network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from mmengine.logging import print_log
from torch import nn

from ..compat_checkpoints import load_checkpoint_file
from ..errors import CheckpointError

# Where networks live in checkpoints of any method; '' is a plain mmseg checkpoint.
_FOREIGN_PREFIXES = ("student.", "teacher.module.", "branches.0.", "")


def spread_checkpoint(
    state_dict: dict, prefix: str, nets: Mapping[str, nn.Module], method: str
) -> bool:
    """Fill the networks that a checkpoint lacks from one that it has, in place.

    Args:
        state_dict: The checkpoint's weights.
        prefix: Prefix of the model in it.
        nets: The model's networks by their prefix, e.g. ``'student.'``.
        method: The model's class name, for messages.

    Returns:
        Whether a network was filled from another one.

    Raises:
        CheckpointError: No entry matches a parameter, by name or by shape.
    """
    shapes = {
        name: {key: tuple(value.shape) for key, value in net.state_dict().items()}
        for name, net in nets.items()
    }
    known = dict.fromkeys(key for own in shapes.values() for key in own)
    found = {
        name: [key for key in known if prefix + name + key in state_dict]
        for name in dict.fromkeys((*nets, *_FOREIGN_PREFIXES))
    }
    found = {name: keys for name, keys in found.items() if keys}
    first = next(iter(nets))
    if not found:
        raise CheckpointError(
            f"the checkpoint matches no parameter of {method}: it has {_some(state_dict)}, the "
            f"model has {_some(first + key for key in shapes[first])}"
        )
    present = [name for name in nets if name in found]
    absent = [name for name in nets if name not in found]
    source = next(iter(found))
    for name in present:
        _refuse_other_shapes(state_dict, prefix + name, [shapes[name]], method)
    if not absent:
        return False
    _refuse_other_shapes(state_dict, prefix + source, [shapes[name] for name in absent], method)
    values = {key: state_dict[prefix + source + key] for key in found[source]}
    if not present:
        for key in values:
            del state_dict[prefix + source + key]
    for name in absent:
        fitting = {key: value for key, value in values.items() if key in shapes[name]}
        state_dict.update({prefix + name + key: value for key, value in fitting.items()})
    print_log(
        f"checkpoint entries '{prefix}{source}*' loaded into "
        f"{', '.join(prefix + name for name in nets)} ({len(values)} of {len(shapes[first])} entries)",
        "current",
    )
    return True


def fill_network(net: nn.Module, path: str) -> None:
    """Give a network all its weights from a checkpoint of mmseg or of any method here.

    Raises:
        CheckpointError: The file is missing or damaged, or lacks a tensor of the network.
    """
    content = load_checkpoint_file(path, map_location="cpu")
    state_dict = dict(content.get("state_dict", content))
    spread_checkpoint(state_dict, "", {"": net}, type(net).__name__)
    found, total = count_loaded(state_dict, "", net)
    if found < total:
        raise CheckpointError(
            f"'{path}' has {found} of the {total} tensors of the network: give a checkpoint of the same "
            "network and classes"
        )
    net.load_state_dict({key: state_dict[key] for key in net.state_dict()})
    print_log(f"'{path}' loaded into one network ({total} tensors)", "current")


def count_loaded(state_dict: Mapping, prefix: str, net: nn.Module) -> tuple[int, int]:
    """How many of a network's tensors a checkpoint holds in their shape, and of how many."""
    own = net.state_dict()
    fitting = [
        key
        for key, value in own.items()
        if prefix + key in state_dict and state_dict[prefix + key].shape == value.shape
    ]
    return len(fitting), len(own)


def _refuse_other_shapes(
    state_dict: dict, where: str, shapes: Sequence[dict[str, tuple[int, ...]]], method: str
) -> None:
    """A checkpoint of another width or depth would leave every weight of all these networks random."""
    pairs = [
        (key, tuple(state_dict[where + key].shape), shape)
        for net in shapes
        for key, shape in net.items()
        if where + key in state_dict and shape  # a counter has the same shape, (), everywhere
    ]
    if pairs and not any(found == wanted for _, found, wanted in pairs):
        key, found, wanted = pairs[0]
        raise CheckpointError(
            f"the checkpoint fits no parameter of {method}: '{key}' is {found} in the checkpoint "
            f"and {wanted} in the model; is it of another config?"
        )


def _some(keys: Iterable[str], count: int = 3) -> str:
    keys = list(keys)
    shown = ", ".join(f"'{key}'" for key in keys[:count])
    return f"{shown}{', ...' if len(keys) > count else ''}" if keys else "no entries"
