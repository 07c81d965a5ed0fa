# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""The converters' command line: its arguments, exit codes, scripts and page in the documentation."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from mmsemi.cli.prepare import CONVERTERS, build_parser, main
from mmsemi.datasets.converters import camvid
from mmsemi.errors import ConfigError

REPOSITORY = Path(__file__).resolve().parents[2]
SCRIPTS = REPOSITORY / "tools" / "dataset_converters"
PAGE = (REPOSITORY / "docs" / "datasets.md").read_text()


def help_of(name: str, capsys) -> str:
    with pytest.raises(SystemExit) as stop:
        main([name, "--help"])
    assert stop.value.code == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("name", CONVERTERS)
def test_every_converter_has_its_script_and_is_documented(name, capsys):
    text = (SCRIPTS / f"{name}.py").read_text()
    assert f'run_tool("mmsemi.cli.prepare", "{name}")' in text
    assert "--nproc" in help_of(name, capsys)
    assert f"python tools/dataset_converters/{name}.py " in PAGE


def test_there_is_no_other_script():
    assert sorted(path.stem for path in SCRIPTS.glob("*.py")) == sorted(CONVERTERS)


REQUIRED = dict(pascal_context=["voc", "context"], voc_aug=["voc", "--sbd", "sbd"])


@pytest.mark.parametrize("name", CONVERTERS)
def test_the_arguments_are_those_of_the_function(name):
    settings = vars(build_parser().parse_args([name, *REQUIRED.get(name, ["folder"])]))
    convert = inspect.signature(import_module(f"mmsemi.datasets.converters.{name}").convert)
    assert set(settings) - {"name"} == set(convert.parameters)
    for key, parameter in convert.parameters.items():
        if parameter.default is not parameter.empty and key not in ("nproc", "sbd"):
            default = parameter.default
            assert settings[key] == (list(default) if isinstance(default, tuple) else default)


def test_the_page_names_files_and_options_that_exist(capsys):
    for name in re.findall(r"`(?:configs/_base_/data/)?(\w+\.py)`", PAGE):
        places = (SCRIPTS, REPOSITORY / "configs" / "_base_" / "data")
        assert any((place / name).is_file() for place in places), name
    helps = "".join(help_of(name, capsys) for name in CONVERTERS)
    for option in set(re.findall(r"--[a-z][a-z-]+", PAGE)):
        assert option in helps, option
    anchors = {
        line[3:].lower().replace(",", "").replace(" ", "-")
        for line in PAGE.splitlines()
        if line.startswith("## ")
    }
    assert set(re.findall(r"\]\(#([\w-]+)\)", PAGE)) == anchors


def test_a_converter_is_called_with_its_settings(monkeypatch):
    called = []
    monkeypatch.setattr(camvid, "convert", lambda **settings: called.append(settings))
    main(["camvid", "folder", "--full-size", "--nproc", "3"])
    assert called[0]["camvid"] == Path("folder")
    assert called[0]["full_size"] and called[0]["nproc"] == 3
    with pytest.raises(ConfigError, match="--nproc 0"):
        main(["camvid", "folder", "--nproc", "0"])
    assert len(called) == 1


@pytest.mark.slow
def test_a_script_from_another_folder(tmp_path):
    script = SCRIPTS / "coco.py"
    run = subprocess.run(
        [sys.executable, str(script), "none"], cwd=tmp_path, capture_output=True, text=True
    )
    assert run.returncode == 2 and len(run.stderr.splitlines()) == 1
    assert run.stderr.startswith("coco.py: error: ") and "none/train2017" in run.stderr
