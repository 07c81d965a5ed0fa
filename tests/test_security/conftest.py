# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
from __future__ import annotations

import pytest
from attempts import World
from test_export.conftest import make_run  # noqa: F401  (a fixture)


@pytest.fixture
def world(tmp_path) -> World:
    return World(tmp_path)
