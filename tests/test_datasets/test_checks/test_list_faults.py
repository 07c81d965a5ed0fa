# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Lists: the two of a split, without a data set, and lines that only look like two columns."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS
from test_datasets.test_checks.clean_set import make_config, write_clean_set

from mmsemi.datasets.checks import check_config
from mmsemi.datasets.checks.rules import judge
from mmsemi.datasets.checks.survey import Survey


def test_equal_frame_numbers_of_two_folders_are_no_overlap(tmp_path):
    lists = dict(labeled=tmp_path / "labeled.txt", unlabeled=tmp_path / "unlabeled.txt")
    split = {half: str(path) for half, path in lists.items()}

    def found() -> list[tuple[str, list[str]]]:
        return [(one.code, one.examples) for one in judge(Survey([], split=split))]

    lists["labeled"].write_text("a/0\nimages/b/1.png\n")
    lists["unlabeled"].write_text("a/1\nb/0\n")
    assert found() == []
    lists["unlabeled"].write_text("b\\1\nb/0\n")
    assert found() == [("labeled-unlabeled-overlap", ["b\\1"])]
    split["allow_overlap"] = True
    assert found() == []
    lists["unlabeled"].write_bytes(b"\xff\xd8")
    assert found() == [("list-not-text", [split["unlabeled"]])]
    lists["unlabeled"].unlink()
    assert found() == [("list-missing", [split["unlabeled"]])]
    lists["unlabeled"].write_text("\n \n")
    assert found() == [("list-empty", [split["unlabeled"]])]


@pytest.fixture
def root(tmp_path) -> Path:
    write_clean_set(tmp_path)
    return tmp_path


def codes(root: Path, **labeled) -> set[str]:
    config = make_config(root)
    config.train_dataloader.dataset.labeled.update(ann_file=str(root / "train.txt"), **labeled)
    return {one.code for one in check_config(config).findings}


def test_a_name_with_blanks_is_one_name(root):
    for kind in ("images", "masks"):
        shutil.move(root / kind / "train/train_03.png", root / kind / "train/my image 3.png")
    text = (root / "train.txt").read_text().replace("train_03", "my image 3")
    (root / "train.txt").write_text(text)
    assert codes(root) == set()


def test_a_data_set_that_reads_two_columns_may_have_them(root):
    @DATASETS.register_module(force=True)
    class TwoColumns(BaseSegDataset):
        def load_data_list(self) -> list[dict]:
            lines = [line.split() for line in Path(self.ann_file).read_text().splitlines() if line]
            more = dict(label_map=None, reduce_zero_label=False, seg_fields=[])
            return [dict(img_path=image, seg_map_path=mask, **more) for image, mask in lines]

    names = (root / "train.txt").read_text().split()
    lines = [f"{root}/images/train/{n}.png {root}/masks/train/{n}.png\n" for n in names]
    (root / "train.txt").write_text("\n".join(lines))
    assert codes(root, type="TwoColumns") == set()


@pytest.mark.parametrize(
    "form", ["{name}.png", "images/train/{name}", "{root}/images/train/{name}.png"]
)
def test_lines_that_mmseg_reads_otherwise_are_named(root, form):
    """Suffixes, folders and absolute paths, which the data set's own settings add once more."""
    lines = [form.format(name=name, root=root) for name in (root / "train.txt").read_text().split()]
    (root / "train.txt").write_text("\n".join(lines))
    assert "list-other-names" in codes(root)


@pytest.mark.parametrize(
    ("content", "code"),
    [
        ("\ufeff{names}", "list-byte-order-mark"),
        ("{names}\n\n", "list-blank-line"),
        ("{names} 1", "list-two-columns"),
    ],
)
def test_lists_of_stock_data_sets_are_read_as_mmseg_does(root, content, code):
    names = "\n".join((root / "train.txt").read_text().split())
    (root / "train.txt").write_text(content.format(names=names), encoding="utf-8")
    assert code in codes(root)
