# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Checked configuration dictionaries: a typo in a threshold must never be silent."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def close_matches(name: object, legal: Iterable[object]) -> str:
    """``'; did you mean ...?'`` for the legal names that resemble ``name``, else an empty string."""
    found = difflib.get_close_matches(str(name), [str(item) for item in legal], n=3, cutoff=0.5)
    return f"; did you mean {' or '.join(repr(match) for match in found)}?" if found else ""


def check_keys(config: dict | None, defaults: dict, where: str) -> dict:
    """Fill a configuration with defaults and refuse keys that do not exist.

    Args:
        config: The user's settings, or ``None`` for none.
        defaults: Every legal key with its default value.
        where: What the user calls this dictionary, for the message, e.g. ``CPS.semi_train_cfg``.

    Raises:
        ValueError: A key is unknown; the message names the keys that resemble it.
    """
    config = dict(config or {})
    for key in config:
        if key not in defaults:
            raise ValueError(
                f"unknown key '{key}' in {where}{close_matches(key, defaults)} "
                f"(known: {', '.join(map(str, defaults)) or 'none'})"
            )
    return {**defaults, **config}
