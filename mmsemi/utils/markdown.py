# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Tables for documents and terminals."""

from __future__ import annotations

from collections.abc import Sequence


def format_table(head: Sequence[object], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table, each line ended by a newline."""
    lines = [head, ["---"] * len(head), *rows]
    cells = ([f" {cell} " if cell != "" else " " for cell in line] for line in lines)
    return "".join(f"|{'|'.join(line)}|\n" for line in cells)
