# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""The scripts and their page in the documentation."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from mmsemi import dataset_converters

REPOSITORY = Path(__file__).resolve().parents[2]
SCRIPTS = sorted(path.stem for path in (REPOSITORY / "tools/dataset_converters").glob("*.py"))
PAGE = (REPOSITORY / "docs" / "datasets.md").read_text()


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_script_has_its_module_and_is_documented(name, capsys):
    text = (REPOSITORY / "tools/dataset_converters" / f"{name}.py").read_text()
    assert f"from mmsemi.dataset_converters.{name} import main" in text
    module = __import__(f"{dataset_converters.__name__}.{name}", fromlist=["main"])
    with pytest.raises(SystemExit) as stop:
        module.main(["--help"])
    assert stop.value.code == 0 and "--nproc" in capsys.readouterr().out
    assert f"python tools/dataset_converters/{name}.py " in PAGE


def test_the_page_names_files_and_options_that_exist(capsys):
    for name in re.findall(r"`(?:configs/_base_/data/)?(\w+\.py)`", PAGE):
        places = ("tools/dataset_converters", "configs/_base_/data")
        assert any((REPOSITORY / place / name).is_file() for place in places), name
    helps = ""
    for name in SCRIPTS:
        with pytest.raises(SystemExit):
            __import__(f"{dataset_converters.__name__}.{name}", fromlist=["main"]).main(["--help"])
        helps += capsys.readouterr().out
    for option in set(re.findall(r"--[a-z][a-z-]+", PAGE)):
        assert option in helps, option
    anchors = {
        line[3:].lower().replace(",", "").replace(" ", "-")
        for line in PAGE.splitlines()
        if line.startswith("## ")
    }
    assert set(re.findall(r"\]\(#([\w-]+)\)", PAGE)) == anchors


@pytest.mark.slow
def test_a_script_from_another_folder(tmp_path):
    script = REPOSITORY / "tools" / "dataset_converters" / "coco.py"
    run = subprocess.run(
        [sys.executable, str(script), "none"], cwd=tmp_path, capture_output=True, text=True
    )
    assert run.returncode == 1 and len(run.stderr.splitlines()) == 1
    assert run.stderr.startswith("coco.py: error: there is no folder 'none/train2017'")
