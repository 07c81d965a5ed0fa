# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""``mmsemi test``: mmseg's own ``tools/test.py``."""

from __future__ import annotations

from collections.abc import Sequence

from .stock import run_stock_tool


def main(arguments: Sequence[str]) -> None:
    """The command line; the stock script reads the same arguments from ``sys.argv``."""
    run_stock_tool("test")
