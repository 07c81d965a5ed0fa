# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
from __future__ import annotations

from pathlib import Path

import pytest

from mmsemi.datasets.splits import (
    CountSplit,
    ListSplit,
    RatioSplit,
    canonical_id,
    check_split,
    ids_sha256,
)

IDS = [f"a/id{i:03d}" for i in range(100)]


def test_ratio_and_count_agree_and_nest():
    labeled, unlabeled = RatioSplit(0.1, seed=3)(IDS)
    assert len(labeled) == 10 and sorted(labeled + unlabeled) == IDS
    assert CountSplit(10, seed=3)(IDS) == (labeled, unlabeled)
    assert set(labeled) < set(RatioSplit(0.5, seed=3)(IDS)[0])
    assert set(labeled) != set(RatioSplit(0.1, seed=4)(IDS)[0])


def test_file_order_does_not_matter():
    assert RatioSplit(0.2, seed=1)(IDS[::-1]) == RatioSplit(0.2, seed=1)(IDS)


@pytest.mark.parametrize(
    ("ratio", "total", "count"), [(0.1, 30, 3), (0.29, 100, 29), (0.001, 50, 1)]
)
def test_rounding_is_down_with_at_least_one(ratio, total, count):
    assert len(RatioSplit(ratio)(IDS[:total])[0]) == count


def test_rounding_up_is_an_option():
    assert len(RatioSplit(1 / 8, rounding="ceil")(IDS)[0]) == 13
    assert len(RatioSplit(0.1, rounding="ceil")(IDS)[0]) == 10
    assert set(RatioSplit(1 / 8)(IDS)[0]) < set(RatioSplit(1 / 8, rounding="ceil")(IDS)[0])
    with pytest.raises(ValueError, match="'floor' or 'ceil', got 'up'"):
        RatioSplit(0.1, rounding="up")


@pytest.mark.parametrize(
    ("labeled", "unlabeled", "message"),
    [
        ([], ["a"], "leaves no labelled image"),
        (["a", "a"], ["b"], "has 'a' twice among the labelled"),
        (["a"], ["b", "c", "b"], "has 'b' twice among the unlabelled"),
        (["a", "b"], ["b"], "has 1 images both labelled and unlabelled, the first is 'b'"),
    ],
)
def test_a_split_with_a_mistake_is_refused(labeled, unlabeled, message):
    with pytest.raises(ValueError, match=f"split mine {message}"):
        check_split(labeled, unlabeled, "mine")
    check_split(["a"], ["a"], "mine", allow_overlap=True)


@pytest.mark.parametrize(
    "build", [lambda: RatioSplit(0), lambda: RatioSplit(1.5), lambda: CountSplit(0)]
)
def test_impossible_sizes_are_refused(build):
    with pytest.raises(ValueError, match="split"):
        build()
    with pytest.raises(ValueError, match="has 100 images"):
        CountSplit(101)(IDS)


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


def test_a_ratio_may_be_a_fraction_and_sizes_must_be_whole():
    assert RatioSplit("1/8", seed=3)(IDS) == RatioSplit(1 / 8, seed=3)(IDS)
    for build in (
        lambda: RatioSplit("half"),
        lambda: RatioSplit(None),
        lambda: RatioSplit(0.5, seed=None),
        lambda: CountSplit(2.5),
        lambda: CountSplit(2, seed="1"),
    ):
        with pytest.raises(ValueError, match="split."):
            build()


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
    with pytest.raises(ValueError, match="l.txt' is no UTF-8 text"):
        ListSplit(str(path))(IDS)
    path.write_text("my image 1\nmy image 2\n")
    with pytest.raises(ValueError, match="'my' twice .a name ends at the first blank"):
        ListSplit(str(path))(IDS)


def test_equal_base_names_are_told_apart_by_their_folder(tmp_path):
    ids = ["x/id1", "y/id1"]
    assert ListSplit(write(tmp_path / "a.txt", ["y/id1.png"]))(ids) == (["y/id1"], ["x/id1"])
    with pytest.raises(ValueError, match="matches several images"):
        ListSplit(write(tmp_path / "b.txt", ["id1"]))(ids)


def test_list_mistakes_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere.txt"):
        ListSplit(str(tmp_path / "nowhere.txt"))(IDS)
    with pytest.raises(ValueError, match="is empty"):
        ListSplit(write(tmp_path / "e.txt", [""]))(IDS)
    with pytest.raises(ValueError, match="'ix001' .*not in the data set; did you mean 'id001'"):
        ListSplit(write(tmp_path / "t.txt", ["ix001"]))(IDS)
    with pytest.raises(ValueError, match="names 'id001' twice"):
        ListSplit(write(tmp_path / "d.txt", ["id001", "id001"]))(IDS)
    labeled = write(tmp_path / "l.txt", ["id001", "id002"])
    unlabeled = write(tmp_path / "u.txt", ["id002", "id003"])
    with pytest.raises(ValueError, match="1 images are labelled in .*'a/id002'"):
        ListSplit(labeled, unlabeled)(IDS)
    assert ListSplit(labeled, unlabeled, allow_overlap=True)(IDS)[1] == ["a/id002", "a/id003"]


def test_a_published_list_is_checked_and_says_where_it_comes_from(tmp_path):
    ids = ["a/id005", "a/id003"]
    path = write(tmp_path / "l.txt", ["id005.png", "id003.png"])
    assert ListSplit(path, labeled_sha256=ids_sha256(ids))(IDS)[0] == ids
    with pytest.raises(
        ValueError, match=r"l.txt' \(2 images\) is not the published one \(DATA of X\)"
    ):
        ListSplit(path, labeled_sha256=ids_sha256(ids[:1]), origin="DATA of X")(IDS)
    with pytest.raises(
        FileNotFoundError, match="nowhere.txt' does not exist: it is DATA of X; put"
    ):
        ListSplit(str(tmp_path / "nowhere.txt"), origin="DATA of X")(IDS)
