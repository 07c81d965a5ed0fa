# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Names that do not depend on the machine, and splits with a mistake."""

from __future__ import annotations

import pytest

from mmsemi.datasets.splits import canonical_id, check_split, ids_sha256
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
