# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""``mmsemi check-dataset``: what is wrong with the images, masks and lists of a config."""

from ..dataset_checks.cli import main

__all__ = ["main"]
