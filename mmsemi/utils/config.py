# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Checked configuration dictionaries: a typo in a threshold must never be silent."""

from __future__ import annotations

from ..errors import ConfigError, close_matches


def check_keys(config: dict | None, defaults: dict, where: str) -> dict:
    """Fill a configuration with defaults and refuse keys that do not exist.

    Args:
        config: The user's settings, or ``None`` for none.
        defaults: Every legal key with its default value.
        where: What the user calls this dictionary, for the message, e.g. ``CPS.semi_train_cfg``.

    Raises:
        ConfigError: A key is unknown; the message names the keys that resemble it.
    """
    config = dict(config or {})
    for key in config:
        if key not in defaults:
            raise ConfigError(
                f"unknown key '{key}' in {where}{close_matches(key, defaults)} "
                f"(known: {', '.join(map(str, defaults)) or 'none'})"
            )
    return {**defaults, **config}
