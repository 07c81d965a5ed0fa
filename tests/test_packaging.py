# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""What an installation carries."""

from __future__ import annotations

from pathlib import Path

import yaml

import mmsemi

REPOSITORY = Path(__file__).resolve().parents[1]


def test_model_index_lists_every_metafile():
    listed = yaml.safe_load((REPOSITORY / "model-index.yml").read_text())["Import"]
    present = [path.relative_to(REPOSITORY) for path in REPOSITORY.glob("configs/*/metafile.yml")]
    assert sorted(listed) == sorted(map(str, present))


def test_one_version_everywhere():
    citation = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text())
    changes = (REPOSITORY / "CHANGELOG.md").read_text()
    newest = next(line for line in changes.splitlines() if line.startswith("## "))
    assert citation["version"] == mmsemi.__version__ == newest.split()[1]
    assert str(citation["date-released"]) in newest
