# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""A made-up protocol with five rows, for the tests of ``runs``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from runs import make, results
from runs.rows import PROTOCOLS, Protocol, Row

SHORT = ("train_cfg.max_iters=4", "train_cfg.num_validations=2")
START = Row(
    "start", "supervised, the start", "supervised/shapes_1-8", 3, kind="start", options=SHORT
)
WEAK = replace(START, name="weak", title="weak", start="start", kind="baseline")
STRONG = replace(WEAK, name="strong", title="strong")
ALL = replace(WEAK, name="all", title="all labels", kind="ceiling")
FIXMATCH = Row("fixmatch", "FixMatch", "fixmatch/shapes_1-8", 7, "start", options=SHORT)


def make_protocol(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Protocol:
    """A protocol of its own, with its data, results and work dirs in the test's folder."""
    (tmp_path / "data" / "images" / "train").mkdir(parents=True)
    rows = (START, WEAK, STRONG, ALL, FIXMATCH)
    made = Protocol("made_up", str(tmp_path / "data"), (1, 2), ("bar", "ring"), rows)
    monkeypatch.setitem(PROTOCOLS, "made_up", made)
    monkeypatch.setattr(make, "WORK", tmp_path / "work_dirs")
    monkeypatch.setattr(results, "FOLDER", tmp_path / "results")
    return made
