# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Small inputs that once failed: each script makes its data, runs the tools and asserts.

``cases/`` holds those of ``../shared/cases`` whose settings have moved since, with their assertions
unchanged; where that folder is not there, only they run.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
COPIES = Path(__file__).parent / "cases"
SHARED = ROOT.parent / "shared" / "cases"


def scripts() -> dict[str, Path]:
    """Name below the folder -> script; a copy goes before the original."""
    found = {}
    for folder in (SHARED, COPIES):
        for path in sorted(folder.rglob("*.py")):
            if not path.name.startswith("_"):
                found[path.relative_to(folder).as_posix()] = path
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", scripts())
def test_a_case_is_right(name):
    folders = f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    done = subprocess.run(
        [sys.executable, scripts()[name]],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": folders, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:]
