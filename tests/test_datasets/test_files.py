# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Files by the thousand: links, folders, and names that do not depend on the machine."""

from __future__ import annotations

import os

import pytest

from mmsemi.datasets.files import relative_ids, resolve_files
from mmsemi.errors import ConfigError


@pytest.mark.parametrize("count", [3, 200])  # asked one by one, and as a folder
def test_files_are_resolved_as_realpath_does(tmp_path, count):
    folder = tmp_path / "folder"
    folder.mkdir()
    os.symlink(folder, tmp_path / "link")
    names = [f"{number:03d}.png" for number in range(count)]
    for name in names[1:]:
        (folder / name).touch()
    os.symlink(folder / names[2], folder / "other.png")
    os.symlink(tmp_path / "nowhere", folder / "broken.png")
    paths = [str(tmp_path / "link" / name) for name in (*names, "other.png", "broken.png")]
    expected = {path: os.path.realpath(path) if os.path.exists(path) else None for path in paths}
    assert resolve_files(paths) == expected
    assert sum(real is None for real in expected.values()) == 2
    assert set(resolve_files([f"/nowhere/{name}" for name in names]).values()) == {None}


def test_relative_ids_do_not_depend_on_the_machine():
    assert relative_ids(["/d/x/a/1.png", "/d/x/b/1.jpg"]) == ["a/1", "b/1"]
    assert relative_ids(["/other/a/1.png", "/other/b/1.jpg"]) == ["a/1", "b/1"]


def test_images_without_a_common_folder_are_refused():
    with pytest.raises(ConfigError, match="'/d/b' .*'a'"):
        relative_ids(["a/1.png", "/d/b/2.png"])
