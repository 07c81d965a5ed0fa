# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""The version of mmsemi; ``setup.py`` reads it from this file without importing the package."""

__version__ = "0.2.0"
