# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""``mmsemi check-dataset``: what it prints and writes, its exit codes; reports and tables."""

from __future__ import annotations

import gc
import io
import json
import re
import sys
from pathlib import Path

import pytest
from mmengine.config import Config
from PIL import Image

from mmsemi.cli import check_dataset
from mmsemi.cli.check_dataset import main
from mmsemi.datasets.checks import RULES
from mmsemi.errors import ConfigError

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def quick_garbage_collection():
    """mmengine collects garbage for each data set, which visits all of torch's objects."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture
def config(semi_config, val_config, preprocessor_config, tmp_path, monkeypatch) -> Config:
    """A config of the small data set of all tests; relative paths end in the test's folder."""
    monkeypatch.chdir(tmp_path)
    return Config(
        dict(
            default_scope="mmseg",
            model=dict(type="CPS", data_preprocessor=preprocessor_config, mix=dict(type="CutMix")),
            train_dataloader=dict(
                batch_size=6,
                sampler=dict(
                    type="MultiSourceSampler", num_per_source=dict(labeled=2, unlabeled=4)
                ),
                dataset=semi_config,
            ),
            val_dataloader=dict(batch_size=1, dataset=val_config),
        )
    )


@pytest.fixture
def config_file(config, tmp_path):
    """Writes the config, changed or not, and returns its path."""

    def write() -> str:
        path = tmp_path / "my_config.py"
        config.dump(path)
        return str(path)

    return write


def test_a_clean_set_exits_with_0_and_writes_the_sheet(config_file, tmp_path, capsys):
    json_file = tmp_path / "deep" / "result.json"
    assert main([config_file(), "--json", str(json_file), "--workers", "1"]) == 0
    text = capsys.readouterr().out
    assert "0 errors, 0 warnings, 0 notes" in text and "2 right" in text
    values = json.loads(json_file.read_text())
    assert values["findings"] == [] and values["counts"]["error"] == 0
    labeled = values["sources"]["labeled"]
    assert labeled["images"] == labeled["readable_masks"] == 4
    assert set(labeled["pixels"]) == {"background", "left", "right"}
    assert labeled["masks_with_class"]["right"] == 4 and 0 < labeled["void_share"] < 0.1
    picture = Image.open(tmp_path / "work_dirs/check_dataset/my_config.png")
    assert picture.mode == "RGB" and picture.width > 600 and picture.height > 300


def test_errors_exit_with_1_and_warnings_only_when_strict(config_file, data_root, capsys):
    image = data_root / "images/train/t00.png"
    Image.open(image).convert("RGBA").save(image)
    options = [config_file(), "--no-contact-sheet", "--workers", "1"]
    assert main(options) == 0
    assert main([*options, "--strict"]) == 1
    assert "warning image-alpha [" in capsys.readouterr().out
    image.write_bytes(b"")
    assert main(options) == 1
    out = capsys.readouterr().out
    assert "error   file-empty [" in out and "t00.png" in out and "fix: " in out
    assert not Path("work_dirs").exists()


@pytest.mark.parametrize(
    ("options", "value"),
    [
        (["--workers", "0"], "--workers 0"),
        (["--samples", "0"], "--samples 0"),
        (["--contact-sheet", "sheet.jpg"], "sheet.jpg"),
        (["--cfg-options", "train_dataloder.batch_size=1"], "'train_dataloader'"),
    ],
)
def test_wrong_usage_is_refused(config_file, options, value):
    with pytest.raises(ConfigError, match=value):
        main([config_file(), *options])


def test_a_config_without_data_and_a_missing_one_are_refused(tmp_path):
    (tmp_path / "empty.py").write_text("a = 1\n")
    for name in ("empty.py", "none.py"):
        with pytest.raises(ConfigError, match=name):
            main([str(tmp_path / name)])


def test_a_batch_that_cannot_be_made_is_an_error(config_file, config, capsys):
    config.model.data_preprocessor.size = (16, 16)
    assert main([config_file(), "--workers", "1"]) == 1
    out = capsys.readouterr().out
    assert "error   batch-cannot-be-made [train_dataloader]" in out
    assert "data_preprocessor.size=(16, 16)" in out


def test_progress_on_a_terminal(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")  # a dumb one has no bar
    with check_dataset.ProgressBar() as progress:
        progress(1, 2)
        progress(2, 2)
    assert "2/2" in terminal.getvalue()


def test_the_documentation_names_every_rule():
    page = (REPOSITORY / "docs" / "check_dataset.md").read_text()
    documented = {
        code: row[2].strip()
        for row in (line.split("|") for line in page.splitlines() if line.startswith("| `"))
        for code in re.findall(r"`([a-z0-9]+(?:-[a-z0-9]+)+)`", row[1])
    }
    expected = {
        code: f"{rule.severity}{' *' if rule.find and rule.reads != 'all' else ''}"
        for code, rule in RULES.items()
    }
    assert documented == expected
