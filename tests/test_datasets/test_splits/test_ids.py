# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Names that do not depend on the machine, and splits with a mistake."""

from __future__ import annotations

import pytest

from mmsemi.datasets.splits import (
    canonical_id,
    check_split,
    ids_sha256,
    match_ids,
    name_in_line,
    read_id_list,
)
from mmsemi.errors import DataError


@pytest.mark.parametrize(
    ("labeled", "unlabeled", "value"),
    [
        ([], ["a"], ""),
        (["a", "a"], ["b"], "'a'.* labelled"),
        (["a"], ["b", "c", "b"], "'b'.* unlabelled"),
        (["a", "b"], ["b"], " 1 .*'b'"),
    ],
)
def test_a_split_with_a_mistake_is_refused(labeled, unlabeled, value):
    with pytest.raises(DataError, match=f"split mine .*{value}"):
        check_split(labeled, unlabeled, "mine")
    check_split(["a"], ["a"], "mine", allow_overlap=True)


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("2007_000032", "2007_000032"),
        ("/JPEGImages/2007_000032.jpg", "2007_000032"),
        ("leftImg8bit/train/aachen/aachen_000000_000019_leftImg8bit.png", "aachen_000000_000019"),
        ("train2017\\000000177254.jpg", "000000177254"),
        ("my data/train/IMG 1.v2.TIF", "IMG 1.v2"),
    ],
)
def test_canonical_ids_of_paths(line, name):
    assert canonical_id(line) == name


def test_hashes_of_paths_with_blanks_differ():
    assert ids_sha256(["my data/a.png"]) == ids_sha256(["a"]) != ids_sha256(["my data/b.png"])


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("case (1)", "case (1)"),
        ("case (1).png", "case (1).png"),
        ("a b/case (1).png  masks/case (1).png", "a b/case (1).png"),
        ("/JPEGImages/1.jpg\t/SegmentationClassAug/1.png", "/JPEGImages/1.jpg"),
        ("JPEGImages/1.jpg SegmentationClass/1.png", "JPEGImages/1.jpg"),
        ("1.JPG,1.png", "1.JPG"),
        ("scan 01\tscan 01", "scan 01"),
        ("2007_000032 2007_000032", "2007_000032"),
        ("case (1) case (1)", "case (1)"),
        ("images/1 masks/1", "images/1"),
        ("v1.0 jpg.tiff x", "v1.0 jpg.tiff"),
        ("C:\\my data\\1.png", "C:\\my data\\1.png"),
    ],
)
def test_a_line_names_its_first_column(line, name):
    assert name_in_line(line) == name


@pytest.mark.parametrize(
    "content",
    [
        b"case\ncase (1)\n",
        b"\xef\xbb\xbfcase\r\ncase (1)\r\n",
        b"\n  case  \n\n\tcase (1)\n \n".replace(b"\t", b" "),
        b"case\tx\ncase (1)\ty",
    ],
)
def test_every_list_file_is_read_alike(tmp_path, content):
    (tmp_path / "l.txt").write_bytes(content)
    assert read_id_list(tmp_path / "l.txt") == ["case", "case (1)"]


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("a/1", "a/1"),
        ("/data/images/a/1.png", "a/1"),
        ("D:\\set\\b\\1.png", "b/1"),
        ("2", "a/2"),
        ("elsewhere/2.tif", "a/2"),
        ("3", "3"),
        ("x 1", "b/x 1"),
    ],
)
def test_a_line_finds_its_image(line, found):
    ids = ["3", "a/1", "a/2", "b/1", "b/3", "b/x 1"]
    assert match_ids([line], ids, "mine") == [found]


@pytest.mark.parametrize(
    ("lines", "value"),
    [(["1"], "'1' of mine"), (["x"], "'x' of mine"), (["a/2", "2.png"], "'a/2' and '2.png'")],
)
def test_lines_that_name_no_one_image_are_refused(lines, value):
    with pytest.raises(DataError, match=value):
        match_ids(lines, ["a/1", "a/2", "b/1"], "mine")


def test_files_are_told_apart_by_their_suffix():
    files = ["1.jpg", "1.png"]
    assert match_ids(["1.png"], files, "mine") == ["1.png"]
    with pytest.raises(DataError, match="'1' of mine"):
        match_ids(["1"], files, "mine")
