# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""What the checkpoint converters share: reading safely, matching, writing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..compat import load_checkpoint_file
from ..errors import CheckpointError
from ..utils import close_matches
from ..utils.files import file_sha256, write_beside
from ..version import __version__

Shape = tuple[int, ...]
# torch counts batches since 0.4.1; older files lack the counter, and loading fills it in.
_COUNTER = "num_batches_tracked"


@dataclass
class Matched:
    """Tensors under their new names, and what did not fit.

    Attributes:
        state_dict: New name -> tensor, only what the network has.
        expected: Number of tensors that the network has, batch counters not counted.
        found: Number of these that the file has.
        left_over: Names in the file that the network lacks.
    """

    state_dict: dict[str, Tensor] = field(default_factory=dict)
    expected: int = 0
    found: int = 0
    left_over: list[str] = field(default_factory=list)

    def report(self) -> str:
        """One line for the user."""
        line = f"matched {self.found} of the network's {self.expected} tensors"
        return f"{line}; in the file and not used: {some(self.left_over)}"


def some(names: Iterable[str], count: int = 4) -> str:
    """The first names of a list, and how many there are."""
    names = list(names)
    if not names:
        return "none"
    more = f", ... ({len(names)} in all)" if len(names) > count else ""
    return ", ".join(names[:count]) + more


def read_tensors(path: Path, prefixes: Sequence[str] = ("module.",)) -> dict[str, Tensor]:
    """Read the weights of a checkpoint: bare, or under ``state_dict`` or ``model``.

    Args:
        path: File written by ``torch.save``, in the present or the older format.
        prefixes: Taken off as long as every name starts with one of them.

    Raises:
        CheckpointError: There is no such file, it holds pickled code, is unreadable, or holds
            something else than named tensors.
    """
    if not path.is_file():
        known = [str(entry) for entry in path.parent.glob("*.pth*")]
        raise CheckpointError(f"there is no checkpoint '{path}'{close_matches(path, known)}")
    content = load_checkpoint_file(str(path), map_location="cpu")
    for key in ("state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict) or not content:
        raise CheckpointError(f"'{path}' holds no named weights but {type(content).__name__}")
    wrong = [key for key, value in content.items() if not isinstance(value, Tensor)]
    if wrong or not all(isinstance(key, str) for key in content):
        raise CheckpointError(f"'{path}' holds no named weights: {some(map(str, wrong))}")
    tensors = {key: value.detach() for key, value in content.items()}
    while True:
        shared = [p for p in prefixes if all(key.startswith(p) for key in tensors)]
        if not shared:
            return tensors
        tensors = {key.removeprefix(shared[0]): value for key, value in tensors.items()}


def match(
    path: Path,
    tensors: dict[str, Tensor],
    rename: Callable[[str], str | None],
    shapes: dict[str, Shape],
) -> Matched:
    """Give tensors the network's names; all of the network must be found.

    Args:
        path: The file, for messages.
        tensors: From :func:`read_tensors`.
        rename: The network's name for a name of the file, ``None`` for one that has none.
        shapes: Name -> shape of all that the network has, batch counters included.

    Raises:
        CheckpointError: A tensor of the network is missing, comes twice or has another shape.
    """
    result = Matched()
    for old, value in tensors.items():
        new = rename(old)
        if new not in shapes:
            result.left_over.append(old)
        elif new in result.state_dict:
            raise CheckpointError(f"'{path}' has two tensors for {new}, one of them is {old}")
        elif tuple(value.shape) != shapes[new]:
            raise CheckpointError(
                f"'{path}': {old} is {tuple(value.shape)}, the network's {new} is {shapes[new]}"
            )
        else:
            result.state_dict[new] = value
    wanted = [name for name in shapes if not name.endswith(_COUNTER)]
    missing = [name for name in wanted if name not in result.state_dict]
    result.expected, result.found = len(wanted), len(wanted) - len(missing)
    if missing:
        raise CheckpointError(
            f"'{path}' has {result.found} of the network's {result.expected} tensors; missing: "
            f"{some(missing)}; the file has: {some(tensors)}"
        )
    result.left_over = [name for name in result.left_over if not name.endswith(_COUNTER)]
    return result


def shapes_of(module: torch.nn.Module, prefix: str) -> dict[str, Shape]:
    """Name -> shape of a module's weights and buffers."""
    return {prefix + key: tuple(value.shape) for key, value in module.state_dict().items()}


def save(path: Path, source: Path, state_dict: dict[str, Tensor], meta: dict[str, Any]) -> None:
    """Write a plain checkpoint, complete or not at all.

    Args:
        path: Target; its folder is made if missing.
        source: The converted file; its name and SHA-256 go into ``meta``.
        state_dict: Weights.
        meta: Plain values.
    """
    origin = dict(file=source.name, sha256=file_sha256(source))
    content = dict(
        meta=dict(**meta, converted_from=origin, mmsemi_version=__version__), state_dict=state_dict
    )
    write_beside(path, lambda file: torch.save(content, file))


def cfg_options(settings: dict[str, Any]) -> str:
    """Settings as arguments for ``--cfg-options``, one a line."""
    lines = []
    for key, value in settings.items():
        text = f"[{','.join(map(str, value))}]" if isinstance(value, (list, tuple)) else str(value)
        lines.append(f"    {key}={text}")
    return " \\\n".join(lines)
