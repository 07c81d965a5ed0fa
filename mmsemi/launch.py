# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Old names, for the parts that are being moved; goes with the last of them."""

from __future__ import annotations

from .errors import ConfigError as UsageError
from .errors import user_error
from .utils.config_files import default_work_dir, find_config, load_config, set_options

__all__ = ["UsageError", "default_work_dir", "find_config", "load_config"]


def check_option(key, config, path):
    set_options(config, {key: config.get(key)})


def keep_traceback() -> bool:
    return False


def find_deliberate_message(error):
    found = user_error(error)
    return None if found is None else str(found)


def run_tool(name, work):
    return work()
