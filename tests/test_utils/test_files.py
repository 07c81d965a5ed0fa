# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
from __future__ import annotations

from pathlib import Path

import pytest

from mmsemi.errors import DataError
from mmsemi.utils.files import path_below


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "../x.png",
        "a/../../x.png",
        "a/..",
        "/x.png",
        "//host/x.png",
        "\\x.png",
        "..\\x.png",
        "a\\..\\..\\x.png",
        "C:x.png",
        "C:\\x.png",
        "a/ .. /x.png",
        "a/",
        "a\0.png",
    ],
)
def test_a_name_that_leads_out_is_refused(tmp_path, name):
    with pytest.raises(DataError, match="leads out"):
        path_below(tmp_path, name)


def test_other_names_are_below():
    assert path_below("out", "a/b c.png") == Path("out/a/b c.png")
    assert path_below(Path("out"), "a\\b.png") == Path("out/a/b.png")
    assert path_below("out", "..a/...b") == Path("out/..a/...b")
