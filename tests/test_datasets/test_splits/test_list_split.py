# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Labelled subsets from list files, in every form that people write."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmsemi.datasets.splits import ListSplit, ids_sha256, read_id_list
from mmsemi.errors import DataError
from mmsemi.utils.config_files import PACKAGE

IDS = [f"a/id{i:03d}" for i in range(100)]


def write(path: Path, lines: list[str], end: str = "\n") -> str:
    path.write_bytes(end.join(lines).encode())
    return str(path)


def test_lists_may_have_crlf_suffixes_and_second_columns(tmp_path):
    labeled = write(tmp_path / "l.txt", ["/img/a/id003.jpg  /seg/a/id003.png", "id005"], "\r\n")
    got = ListSplit(labeled)(IDS)
    assert got[0] == ["a/id003", "a/id005"] and len(got[1]) == 98 and "a/id003" not in got[1]


def test_windows_lists(tmp_path):
    path = tmp_path / "l.txt"
    path.write_bytes("\ufeffx\\frame.01.JPG\r\n".encode())
    assert ListSplit(str(path))(["x/frame.01", "y/frame.01"])[0] == ["x/frame.01"]
    path.write_bytes(b"\xff\xd8")
    with pytest.raises(DataError, match="l.txt'"):
        ListSplit(str(path))(IDS)
    path.write_text("my image 1\nmy image 2\n")
    with pytest.raises(DataError, match="'my image 1'.*l.txt'"):
        ListSplit(str(path))(IDS)


def test_a_list_that_comes_with_mmsemi_is_found_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    split = ListSplit("splits/camvid/labels_6.txt", "splits/camvid/labels_12.txt", True)
    shipped = PACKAGE.parent / "splits" / "camvid"
    lists = [read_id_list(shipped / name) for name in ("labels_6.txt", "labels_12.txt")]
    assert split(sorted({*lists[0], *lists[1]})) == tuple(lists)


def test_equal_base_names_are_told_apart_by_their_folder(tmp_path):
    ids = ["x/id1", "y/id1"]
    assert ListSplit(write(tmp_path / "a.txt", ["y/id1.png"]))(ids) == (["y/id1"], ["x/id1"])
    with pytest.raises(DataError, match="'id1'.*b.txt"):
        ListSplit(write(tmp_path / "b.txt", ["id1"]))(ids)


def test_list_mistakes_are_named(tmp_path):
    with pytest.raises(DataError, match="nowhere.txt"):
        ListSplit(str(tmp_path / "nowhere.txt"))(IDS)
    with pytest.raises(DataError, match="e.txt"):
        ListSplit(write(tmp_path / "e.txt", [""]))(IDS)
    with pytest.raises(DataError, match="'ix001'.*t.txt.*'id001'"):
        ListSplit(write(tmp_path / "t.txt", ["ix001"]))(IDS)
    with pytest.raises(DataError, match="d.txt.*'id001'"):
        ListSplit(write(tmp_path / "d.txt", ["id001", "id001"]))(IDS)
    labeled = write(tmp_path / "l.txt", ["id001", "id002"])
    unlabeled = write(tmp_path / "u.txt", ["id002", "id003"])
    with pytest.raises(DataError, match="1 .*l.txt.*u.txt.*'a/id002'"):
        ListSplit(labeled, unlabeled)(IDS)
    assert ListSplit(labeled, unlabeled, allow_overlap=True)(IDS)[1] == ["a/id002", "a/id003"]


def test_a_published_list_is_checked_and_says_where_it_comes_from(tmp_path):
    ids = ["a/id005", "a/id003"]
    path = write(tmp_path / "l.txt", ["id005.png", "id003.png"])
    assert ListSplit(path, labeled_sha256=ids_sha256(ids))(IDS)[0] == ids
    with pytest.raises(DataError, match=r"l.txt' \(2 .*\(DATA of X\)"):
        ListSplit(path, labeled_sha256=ids_sha256(ids[:1]), origin="DATA of X")(IDS)
    with pytest.raises(DataError, match="nowhere.txt'.* DATA of X"):
        ListSplit(str(tmp_path / "nowhere.txt"), origin="DATA of X")(IDS)
