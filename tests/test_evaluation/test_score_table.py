# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Score tables: both files and the reference's text come back as they went; mistakes are named."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from mmsemi.errors import ConfigError, DataError
from mmsemi.evaluation import ScoreTable, image_id

CLASSES = ("background", "cat", "dog")
SPLIT = dict(name="RatioSplit(ratio=0.5)", labeled=4, labeled_sha256="ab" * 32, unlabeled=4)


def make_table() -> ScoreTable:
    scores = dict(b=np.float32([1, 0.2, 1 / 3]), a=np.float32([0.9, 0, 1e-9]))
    return ScoreTable(CLASSES, scores, network="teacher", split=SPLIT)


@pytest.mark.parametrize("suffix", [".npz", ".json"])
def test_a_table_comes_back_bit_for_bit(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / "folder" / f"scores{suffix}"
    make_table().save(path)
    table = ScoreTable.load(path)
    assert (table.classes, table.network, table.split) == (CLASSES, "teacher", SPLIT)
    assert list(table.scores) == ["b", "a"]
    for name, row in make_table().scores.items():
        assert table.scores[name].dtype == np.float32
        np.testing.assert_array_equal(table.scores[name], row)
    assert [entry.name for entry in path.parent.iterdir()] == [path.name], "nothing is left beside"
    ScoreTable(CLASSES, {"x": [0, 0, 0]}).save(path)  # replaces
    table = ScoreTable.load(path)
    assert (list(table.scores), table.network, table.split) == (["x"], "", None)


def test_a_failed_write_leaves_the_earlier_table(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "scores.npz"
    make_table().save(path)
    before = path.read_bytes()

    def fail(file, **arrays) -> None:
        file.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(np, "savez_compressed", fail)
    with pytest.raises(OSError, match="disk full"):
        make_table().save(path)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_image_ids_are_those_of_the_splits() -> None:
    assert image_id("/data/JPEGImages/2007_000033.jpg") == "2007_000033"
    assert image_id("val/frankfurt/frankfurt_000000_000294_leftImg8bit.png") == (
        "frankfurt_000000_000294"
    )


def test_the_text_form_has_a_row_an_image_in_list_order(tmp_path: Path) -> None:
    path = tmp_path / "output_ema_raw_100.txt"
    make_table().save_text(path, ["a", "images/b.jpg"])
    assert path.read_text() == "0.900000 0.000000 0.000000\n1.000000 0.200000 0.333333\n"
    table = ScoreTable.load_text(path, ["a.jpg", "b"], CLASSES)
    assert list(table.scores) == ["a", "b"] and table.split is None
    np.testing.assert_allclose(table.scores["b"], [1, 0.2, 1 / 3], atol=5e-7)
    with pytest.raises(DataError, match="'c'"):
        make_table().save_text(path, ["a", "c"])
    assert path.read_text().startswith("0.900000"), "the earlier file stays"


@pytest.mark.parametrize(
    "text, ids, culprit",
    [
        ("1 0 0\n1 0 0\n", ["a"], "2 .* 1 "),
        ("1 0\n", ["a"], r"'a' .*\(2,\).* 3 "),
        ("1 0 0\n1 0 0\n", ["x/a.jpg", "y/a.png"], "'a'"),
        ("1 nan 0\n", ["a"], "'a'.*'cat'.* nan"),
        ("1 0 1.01\n", ["a"], "'dog'.* 1.0"),
        ("1 -0.5 0\n", ["a"], "'cat'.* -0.5"),
        ("1 0 0\nx 0 0\n", ["a", "b"], "line 2"),
        ("", [], "row"),
    ],
)
def test_wrong_texts_are_refused_in_one_line(
    tmp_path: Path, text: str, ids: list, culprit: str
) -> None:
    path = tmp_path / "raw.txt"
    path.write_text(text)
    with pytest.raises(DataError, match=culprit) as error:
        ScoreTable.load_text(path, ids, CLASSES)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def damage_json(path: Path, **changes) -> None:
    good = dict(classes=CLASSES, network="", split=None, scores=dict(a=[1, 0, 0]))
    path.write_text(json.dumps({**good, **changes}))


@pytest.mark.parametrize(
    "changes, culprit",
    [
        (dict(scores=dict(a=[1, 0])), "'a'.*shape"),
        (dict(scores=dict(a=[1, 0, float("nan")])), "'dog'.* nan"),
        (dict(scores=dict(a=[1, 0, 2])), "'dog'.* 2.0"),
        (dict(scores=dict(a=["x", 0, 2])), "'a'"),
        (dict(scores={}), "row"),
        (dict(scores=[1]), "list"),
        (dict(classes="abc"), "'classes'"),
        (dict(classes=["a", "a", "b"]), "'a', 'a', 'b'"),
        (dict(split=7), "'split'"),
        (dict(network=None), "'network'"),
    ],
)
def test_wrong_tables_are_refused_in_one_line(tmp_path: Path, changes: dict, culprit: str) -> None:
    path = tmp_path / "scores.json"
    damage_json(path, **changes)
    with pytest.raises(DataError, match=culprit) as error:
        ScoreTable.load(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_files_that_are_no_tables_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.npz"):
        ScoreTable.load(tmp_path / "none.npz")
    with pytest.raises(ConfigError, match=r"scores\.txt"):
        ScoreTable.load(tmp_path / "scores.txt")
    with pytest.raises(ConfigError, match=r"scores\.txt"):
        make_table().save(tmp_path / "scores.txt")

    text = tmp_path / "text.npz"
    text.write_text("hello")
    empty = tmp_path / "empty.npz"
    empty.write_bytes(b"")
    pickled = tmp_path / "pickled.npz"
    np.savez(pickled, classes=np.array([{}], dtype=object), ids=np.array(["a"]), scores=1)
    plain = tmp_path / "plain.npz"
    with open(plain, "wb") as file:
        np.save(file, np.zeros(3))
    keyless = tmp_path / "keyless.npz"
    np.savez(keyless, scores=np.zeros(3))
    cut = tmp_path / "cut.npz"
    make_table().save(cut)
    cut.write_bytes(cut.read_bytes()[:200])
    damaged = tmp_path / "damaged.npz"
    make_table().save(damaged)
    content = bytearray(damaged.read_bytes())
    with zipfile.ZipFile(damaged) as file:
        start = file.getinfo("scores.npy").header_offset
    content[start + 60 : start + 100] = bytes(40)
    damaged.write_bytes(content)
    double = tmp_path / "double.json"
    double.write_text(
        '{"classes": ["x"], "network": "", "split": null, "scores": {"a": [1], "a": [0]}}'
    )
    for path in (text, empty, pickled, plain, keyless, cut, damaged, double):
        with pytest.raises(DataError, match=path.name) as error:
            ScoreTable.load(path)
        assert str(path) in str(error.value) and "\n" not in str(error.value), path.name


def test_two_rows_of_one_id_in_an_npz_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "scores.npz"
    arrays = dict(classes=np.array(["x"]), network=np.array(""), split=np.array("null"))
    np.savez(path, **arrays, ids=np.array(["a", "a"]), scores=np.zeros((2, 1), np.float32))
    with pytest.raises(DataError, match="'a'"):
        ScoreTable.load(path)
    np.savez(path, **arrays, ids=np.array(["a", "b"]), scores=np.zeros((1, 1), np.float32))
    with pytest.raises(DataError, match=r"2 .*\(1, 1\)"):
        ScoreTable.load(path)


def test_a_table_in_memory_is_checked_too() -> None:
    with pytest.raises(DataError, match="'cat'.* 1.5"):
        ScoreTable(CLASSES, dict(a=np.array([0, 1.5, 0])))
