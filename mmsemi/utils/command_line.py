# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""What the user typed, also while a part of the command runs with arguments of its own."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

_typed: list[str] | None = None


def command_line() -> str:
    """The command of this process, as one line for a shell."""
    name, *arguments = _typed or sys.argv
    return f"{name} {shlex.join(arguments)}".strip()


@contextmanager
def with_arguments(arguments: Sequence[str]) -> Iterator[None]:
    """Run a part of a command with its own ``sys.argv``; :func:`command_line` stays that of the whole.

    Args:
        arguments: Without the name of the program.
    """
    global _typed
    before, typed_before = sys.argv, _typed
    _typed, sys.argv = _typed or before, [before[0], *arguments]
    try:
        yield
    finally:
        _typed, sys.argv = typed_before, before
