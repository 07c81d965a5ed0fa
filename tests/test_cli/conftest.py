# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Fixtures of the tests of ``mmsemi init``."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest


@pytest.fixture
def quick_garbage_collection():
    """mmengine collects garbage for each data set, which visits all of torch's objects."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """All relative paths are the test's."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
