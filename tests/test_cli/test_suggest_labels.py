# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""``mmsemi suggest-labels``: every kind is among the chosen images; list, sheet, refusals."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from mmsemi.cli.suggest_labels import TILE, main
from mmsemi.errors import ConfigError, DataError


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """20 dark images and, in another folder, 4 red ones."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MMSEMI_HOME", str(tmp_path / "none"))  # no weights: colour and texture
    for number in range(24):
        generator = np.random.default_rng(number)
        base = np.array([20, 20, 25] if number < 20 else [200, 40, 40])
        noise = base + generator.integers(-15, 15, (40, 48, 3))
        name = tmp_path / "images" / ("a" if number < 20 else "b") / f"{number:02}.png"
        name.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise.clip(0, 255).astype(np.uint8)).save(name)
    return tmp_path


def test_both_kinds_are_chosen_and_the_list_and_the_sheet_are_written(folder, capsys):
    arguments = ["--images", "images", "--n", "2", "-o", "lists/first.txt", "--sheet", "sheet.jpg"]
    assert main(arguments) == 0
    lines = (folder / "lists/first.txt").read_text().splitlines()
    assert [line.split("/")[:2] for line in lines] == [["images", "a"], ["images", "b"]]
    out = capsys.readouterr().out
    assert "for 20 images" in out and "for 4 images" in out and "colour and texture" in out
    with Image.open("sheet.jpg") as sheet:
        assert sheet.width > 2 * TILE and sheet.height > TILE
    first = lines
    main(arguments)  # seeded
    assert (folder / "lists/first.txt").read_text().splitlines() == first


@pytest.mark.parametrize(
    ("options", "error", "told"),
    [
        (["--n", "25"], ConfigError, "24 images"),
        (["--n", "0"], ConfigError, "--n 0"),
        (["--sheet", "sheet.gif"], ConfigError, "sheet.gif"),
        (["--features", "network"], ConfigError, "mmsemi weights"),
        (["--images", "nowhere"], DataError, "nowhere"),
    ],
)
def test_wrong_usage_is_refused(folder, options, error, told):
    with pytest.raises(error, match=told):
        main(["--images", "images", *options])


def test_a_broken_image_is_named(folder):
    path = folder / "images/a/03.png"
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(DataError, match=r"03\.png"):
        main(["--images", "images", "--n", "2"])
