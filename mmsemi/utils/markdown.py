# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Markdown that commands print and write."""

from __future__ import annotations

from collections.abc import Sequence


def format_table(head: Sequence, rows: Sequence[Sequence]) -> str:
    """A table, without a newline at its end.

    Args:
        head: A cell for each column.
        rows: As many cells each.
    """
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)
