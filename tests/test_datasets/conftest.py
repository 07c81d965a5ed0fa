# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""What the tests of data sets share."""

from __future__ import annotations

import gc

import pytest


@pytest.fixture(autouse=True)
def quick_garbage_collection():
    """mmengine collects garbage for each data set, which visits all of torch's objects."""
    gc.freeze()
    yield
    gc.unfreeze()
