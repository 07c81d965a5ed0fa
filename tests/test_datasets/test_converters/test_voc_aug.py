# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""PASCAL VOC + SBD: the better mask of each image, from both usual sources."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from mmsemi.datasets.converters import voc_aug
from mmsemi.datasets.converters.common import IdList, TargetDiffersError
from mmsemi.datasets.splits import ids_sha256, read_id_list
from mmsemi.errors import DataError

SHARED = Path(__file__).resolve().parents[4] / "shared" / "reference_splits"
# VOC's lists; SBD has an image of VOC train, one of VOC val and two of its own.
TRAIN, VAL = ["2007_000001", "2008_000002"], ["2007_000003", "2008_000004"]
SBD_TRAIN, SBD_VAL = ["2008_000002", "2009_000005"], ["2008_000004", "2010_000006"]
TRAIN_AUG = ["2007_000001", "2008_000002", "2009_000005", "2010_000006"]


def write_mat(path: Path, mask: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    savemat(path, {"GTcls": {"Segmentation": mask, "CategoriesPresent": np.unique(mask)}})


@pytest.fixture
def voc(files):
    """VOC2012 and SBD below one folder; returns the official and SBD's masks."""
    for name in {*TRAIN, *VAL, *SBD_TRAIN, *SBD_VAL}:
        files.image(f"VOCdevkit/VOC2012/JPEGImages/{name}.jpg")
    lists = "VOCdevkit/VOC2012/ImageSets/Segmentation"
    files.text(f"{lists}/train.txt", *TRAIN)
    files.text(f"{lists}/val.txt", *VAL)
    palette = list(range(256)) * 3
    official = {
        name: files.mask(
            f"VOCdevkit/VOC2012/SegmentationClass/{name}.png", [0, 5, 20, 255], palette=palette
        )
        for name in (*TRAIN, *VAL)
    }
    sbd = {}
    for name in (*SBD_TRAIN, *SBD_VAL):
        sbd[name] = files.random.integers(0, 21, (30, 40), np.uint8)
        write_mat(files.root / f"benchmark_RELEASE/dataset/cls/{name}.mat", sbd[name])
    files.text("benchmark_RELEASE/dataset/train.txt", *SBD_TRAIN)
    files.text("benchmark_RELEASE/dataset/val.txt", *SBD_VAL)
    return official, sbd


def convert(root: Path, **settings) -> None:
    voc_aug.convert(root / "VOCdevkit" / "VOC2012", **{"subset": True, **settings})


def test_the_merged_folder(files, voc, indices, snapshot, build_config, capsys):
    official, sbd = voc
    sources = snapshot()
    convert(files.root, sbd=files.root / "benchmark_RELEASE")
    root = files.root / "VOCdevkit" / "VOC2012"
    merged = {path.stem: indices(path) for path in (root / "SegmentationClassAug").iterdir()}
    assert sorted(merged) == sorted({*TRAIN_AUG, *VAL})
    for name, mask in merged.items():
        assert np.array_equal(mask, official[name] if name in official else sbd[name]), name
    list_file = root / "ImageSets" / "Segmentation" / "trainaug.txt"
    assert list_file.read_text().split() == TRAIN_AUG

    after = snapshot()
    assert {key: after[key] for key in sources} == sources
    convert(files.root, sbd=files.root / "benchmark_RELEASE" / "dataset")
    assert snapshot() == after, "a second run changes nothing"
    assert "0 written, 6 there already; values 0-20, 255" in capsys.readouterr().out

    split = dict(type="CountSplit", count=2)
    train, val = build_config("voc_cps", "data/VOCdevkit/VOC2012", root, split=split)
    assert len(train.labeled_ids) == len(train.unlabeled_ids) == 2 and len(val) == 2
    assert set(np.unique(train[0]["data_samples"].gt_sem_seg.data)) <= {*range(21), 255}


def test_a_converted_folder_instead_of_sbd(files, voc, indices):
    """mmseg's converter leaves SBD's coarser masks of VOC images, which must not win."""
    official, sbd = voc
    for name, mask in sbd.items():
        files.mask(f"masks/{name}.png", [0])
        voc_aug.write_mask(files.root / "masks" / "new" / f"{name}.png", mask)
    folder = files.root / "masks" / "new"
    convert(files.root, masks=folder)
    merged = files.root / "VOCdevkit" / "VOC2012" / "SegmentationClassAug"
    assert np.array_equal(indices(merged / "2008_000002.png"), official["2008_000002"])
    assert np.array_equal(indices(merged / "2009_000005.png"), sbd["2009_000005"])


def test_a_folder_of_mmseg_is_not_mixed(files, voc, snapshot):
    root = files.root / "VOCdevkit" / "VOC2012"
    for name, mask in voc[1].items():
        voc_aug.write_mask(root / "SegmentationClassAug" / f"{name}.png", mask)
    before = snapshot()
    with pytest.raises(TargetDiffersError, match=r"2008_000002.png.*\(2 .*--masks"):
        convert(files.root, masks=root / "SegmentationClassAug")
    assert snapshot() == before


def test_the_layout_of_unimatch(files, voc, snapshot, build_config, indices):
    """The merged folder is called SegmentationClass: only the list is written."""
    root = files.root / "VOCdevkit" / "VOC2012"
    for name in ("2009_000005", "2010_000006"):
        voc_aug.write_mask(root / "SegmentationClass" / f"{name}.png", voc[1][name])
    shutil.move(root, files.root / "pascal")
    pascal = files.root / "pascal"
    before = snapshot()
    masks = pascal / "SegmentationClass"
    voc_aug.convert(pascal, masks=masks, out=masks, subset=True)
    assert set(snapshot()) - set(before) == {"pascal/ImageSets/Segmentation/trainaug.txt"}
    split = dict(type="CountSplit", count=2)
    train, val = build_config("voc_merged_masks", "data/pascal", pascal, split=split)
    assert len(train.labeled_ids) == 2 and len(val) == 2
    assert Path(train.get_data_info(0)["seg_map_path"]).parent.name == "SegmentationClass"
    train[0]


def test_half_made_input(files, voc, snapshot):
    sbd = files.root / "benchmark_RELEASE"
    root = files.root / "VOCdevkit" / "VOC2012"

    def refused(value: str, sbd: Path = sbd, early: bool = True) -> None:
        before = snapshot()
        with pytest.raises(DataError, match=value):
            convert(files.root, sbd=sbd)
        new = set(snapshot()) - set(before)
        assert not new if early else not any(name.endswith(".txt") for name in new)

    refused(str(root), sbd=root)
    (root / "SegmentationClass" / f"{VAL[0]}.png").rename(files.root / "held.png")
    refused(f"SegmentationClass.*{VAL[0]}")
    (files.root / "held.png").rename(root / "SegmentationClass" / f"{VAL[0]}.png")
    (sbd / "dataset/cls/2009_000005.mat").rename(files.root / "held.mat")
    refused("dataset/cls.*2009_000005")
    (sbd / "dataset/cls/2009_000005.mat").write_bytes(b"broken")
    refused("2009_000005.mat", early=False)
    savemat(sbd / "dataset/cls/2009_000005.mat", {"GTinst": {"Segmentation": np.zeros((30, 40))}})
    refused("2009_000005.mat.*GTcls.Segmentation", early=False)
    write_mat(sbd / "dataset/cls/2009_000005.mat", np.full((30, 41), 3, np.uint8))
    refused("2009_000005.mat.*41x30.*40x30", early=False)
    write_mat(sbd / "dataset/cls/2009_000005.mat", np.full((30, 40), 21, np.uint8))
    refused("2009_000005.mat.* 21.* 0-20 and 255", early=False)
    (files.root / "held.mat").rename(sbd / "dataset/cls/2009_000005.mat")
    (root / "JPEGImages/2009_000005.jpg").unlink()
    refused("JPEGImages.*2009_000005")


def test_counts_and_hash_are_required(files, voc, monkeypatch):
    # The folder above is found, too.
    folders = dict(voc=files.root / "VOCdevkit", sbd=files.root / "benchmark_RELEASE")
    with pytest.raises(DataError, match="VOC train.* 2 .* 1464"):
        voc_aug.convert(**folders)
    monkeypatch.setattr(voc_aug, "TRAIN", IdList("train", 2, ids_sha256(TRAIN)))
    monkeypatch.setattr(voc_aug, "VAL", IdList("val", 2, ids_sha256(VAL)))
    monkeypatch.setattr(voc_aug, "TRAIN_AUG", IdList("aug", 4, ids_sha256(["x"])))
    with pytest.raises(DataError, match=f"aug.* 4 .*{ids_sha256(['x'])[:16]}"):
        voc_aug.convert(**folders)
    monkeypatch.setattr(voc_aug, "TRAIN_AUG", IdList("aug", 4, ids_sha256(TRAIN_AUG)))
    voc_aug.convert(**folders)


def test_the_published_lists_have_the_hashes(capsys):
    folder = SHARED / "advsemiseg"
    if not folder.is_dir():
        pytest.skip(f"the authors' lists are not part of the repository ({folder})")
    for name, expected in (("train_aug", voc_aug.TRAIN_AUG), ("val", voc_aug.VAL)):
        expected.check(read_id_list(folder / f"{name}.txt"))
        assert "as expected" in capsys.readouterr().out
