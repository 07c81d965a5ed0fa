# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""What a user can do wrong, as types: the command line prints their message, one line, and no traceback.

Raise the kind that fits, with the file or setting, its value and the fix in one line. Any other
exception is a fault of the program and keeps its traceback.
"""

from __future__ import annotations


class UserError(Exception):
    """A mistake that the user can repair; its text is all that they see."""


class ConfigError(UserError, ValueError):
    """A setting, an argument or a combination of them that no run can mean."""


class DataError(UserError, ValueError):
    """A file or folder of the user's data that is missing, broken or not what its place says."""


class CheckpointError(UserError, RuntimeError):
    """A checkpoint or weight file that is missing, damaged, or of another model."""
