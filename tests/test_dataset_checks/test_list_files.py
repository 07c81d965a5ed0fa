# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""The two lists of a split, without a data set."""

from __future__ import annotations

from pathlib import Path

from mmsemi.dataset_checks.overlap_rules import check_lists


def test_equal_frame_numbers_of_two_folders_are_no_overlap(tmp_path):
    lists = [str(tmp_path / "labeled.txt"), str(tmp_path / "unlabeled.txt")]
    split = dict(labeled=lists[0], unlabeled=lists[1])
    Path(lists[0]).write_text("a/0\nimages/b/1.png\n")
    Path(lists[1]).write_text("a/1\nb/0\n")
    assert check_lists(lists, split) == []
    Path(lists[1]).write_text("b\\1\nb/0\n")
    found = check_lists(lists, split)
    assert [(f.code, f.examples) for f in found] == [("labeled-unlabeled-overlap", ["b\\1"])]
    Path(lists[1]).write_bytes(b"\xff\xd8")
    assert [f.code for f in check_lists(lists, split)] == ["list-not-text"]
