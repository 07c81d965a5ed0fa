# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""What an installation carries."""

from __future__ import annotations

from pathlib import Path

import yaml

REPOSITORY = Path(__file__).resolve().parents[1]


def test_model_index_lists_every_metafile():
    listed = yaml.safe_load((REPOSITORY / "model-index.yml").read_text())["Import"]
    present = [path.relative_to(REPOSITORY) for path in REPOSITORY.glob("configs/*/metafile.yml")]
    assert sorted(listed) == sorted(map(str, present))
