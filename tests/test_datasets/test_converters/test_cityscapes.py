# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Cityscapes: training ids from ids and from polygons, lists, the damaged image of train_extra."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from mmseg.datasets import CityscapesDataset
from PIL import Image

from mmsemi.datasets.converters import cityscapes
from mmsemi.datasets.converters.cityscapes import IDS_TO_TRAIN_IDS, draw_polygons
from mmsemi.datasets.splits import read_id_list
from mmsemi.errors import DataError

SHARED = Path(__file__).resolve().parents[4] / "shared" / "reference_splits"
TRAIN = ["aachen/aachen_000000_000019", "ulm/ulm_000001_000019"]
VAL = ["munster/munster_000000_000019"]
LEGAL_IDS = list(range(34))


@pytest.fixture
def city(files):
    """Images and labelIds; returns the ids by image."""
    masks = {}
    for part, names in (("train", TRAIN), ("val", VAL)):
        for name in names:
            files.image(f"leftImg8bit/{part}/{name}_leftImg8bit.png")
            masks[name] = files.mask(f"gtFine/{part}/{name}_gtFine_labelIds.png", LEGAL_IDS)
            files.image(f"gtFine/{part}/{name}_gtFine_color.png")
    return masks


def convert(root: Path, **settings) -> None:
    cityscapes.convert(root, **{"subset": True, **settings})


def refused(value: str, root: Path, **settings) -> None:
    with pytest.raises(DataError, match=value):
        convert(root, **settings)


def test_the_table():
    assert tuple(cityscapes.CLASSES) == CityscapesDataset.METAINFO["classes"]
    assert len(cityscapes.CLASSES) == 19 and (IDS_TO_TRAIN_IDS != 255).sum() == 19
    for number, train_id in {7: 0, 11: 2, 17: 5, 24: 11, 28: 15, 31: 16, 33: 18}.items():
        assert IDS_TO_TRAIN_IDS[number] == train_id
    ignored = (*range(7), 9, 10, 14, 15, 16, 18, 29, 30, 255)
    assert (IDS_TO_TRAIN_IDS[list(ignored)] == 255).all()


def test_masks_from_ids(files, city, indices, snapshot, build_config):
    before = snapshot()
    convert(files.root)
    for name, ids in city.items():
        part = "val" if name in VAL else "train"
        mask = indices(files.root / f"gtFine/{part}/{name}_gtFine_labelTrainIds.png")
        assert np.array_equal(mask, IDS_TO_TRAIN_IDS[ids])
    assert (files.root / "train.txt").read_text().split() == TRAIN
    assert (files.root / "val.txt").read_text().split() == VAL
    after = snapshot()
    assert {key: after[key] for key in before} == before
    convert(files.root)
    assert snapshot() == after
    train, val = build_config("cityscapes_cps", "data/cityscapes", files.root, split=None)
    assert len(train) == 2 and len(val) == 1
    assert set(np.unique(train[0]["data_samples"].gt_sem_seg.data)) <= {*range(19), 255}


def polygon_file(path: Path, *shapes, size=(40, 30)) -> None:
    objects = [dict(label=label, polygon=points) for label, points in shapes]
    content = dict(imgWidth=size[0], imgHeight=size[1], objects=objects)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def box(x0, y0, x1, y1):
    return [[x0, y0], [x1, y0], [x1, y1], [x0, y1]]


def test_polygons_are_drawn_in_order(tmp_path):
    path = tmp_path / "a.json"
    polygon_file(
        path,
        ("road", box(0, 10, 39, 29)),
        ("cargroup", box(5, 12, 20, 20)),
        ("license plate", box(6, 13, 8, 14)),
        ("static", box(30, 12, 35, 20)),
        ("polegroup", box(0, 0, 2, 5)),
        ("sky", [[1, 1], [2, 2]]),
    )
    content = json.loads(path.read_text())
    content["objects"].append(dict(label="bus", polygon=box(0, 0, 39, 29), deleted=1))
    path.write_text(json.dumps(content))
    mask = draw_polygons(path)
    assert mask.shape == (30, 40)
    assert mask[25, 0] == 0 and mask[15, 10] == 13 and mask[13, 7] == 13
    assert mask[15, 32] == 255 and mask[0, 39] == 255 and mask[2, 1] == 255
    assert set(np.unique(mask)) == {0, 13, 255}


def test_polygons_where_there_are_no_ids(files, city, indices):
    for part, names in (("train", TRAIN), ("val", VAL)):
        for name in names:
            polygon_file(
                files.root / f"gtFine/{part}/{name}_gtFine_polygons.json", ("sky", box(0, 0, 9, 9))
            )
            (files.root / f"gtFine/{part}/{name}_gtFine_labelIds.png").unlink()
    convert(files.root)
    mask = indices(files.root / f"gtFine/val/{VAL[0]}_gtFine_labelTrainIds.png")
    assert (mask[:10, :10] == 10).all() and (mask == 10).sum() == 100


def test_finished_masks_are_checked(files, city, snapshot):
    convert(files.root)
    for path in files.root.rglob("*_labelIds.png"):
        path.unlink()
    before = snapshot()
    convert(files.root)
    assert snapshot() == before
    path = files.root / f"gtFine/train/{TRAIN[0]}_gtFine_labelTrainIds.png"
    Image.fromarray(np.full((30, 40), 33, np.uint8)).save(path)
    refused(f"{TRAIN[0]}.* 33.* 0-18 and 255", files.root)


def test_the_extra_images(files, city, build_config, capsys):
    for name in ("erlangen/erlangen_000000_000001", cityscapes.SUSPECT):
        files.image(f"leftImg8bit/train_extra/{name}_leftImg8bit.png")
    listed = files.root / "train_extra.txt"
    convert(files.root)
    assert len(listed.read_text().split()) == 2, "an image that can be read stays"
    listed.unlink()
    suspect = files.root / f"leftImg8bit/train_extra/{cityscapes.SUSPECT}_leftImg8bit.png"
    content = suspect.read_bytes()
    for damage in (content[:200], b"no image"):
        suspect.write_bytes(damage)
        convert(files.root)
        assert "is damaged, left out" in capsys.readouterr().out
    Image.new("RGB", (40, 30), (9, 9, 9)).save(suspect)
    convert(files.root)
    assert "is damaged" in capsys.readouterr().out, "one colour only"
    assert listed.read_text() == "erlangen/erlangen_000000_000001_leftImg8bit.png\n"
    train, _ = build_config("cityscapes_extra", "data/cityscapes", files.root)
    assert {name: len(span) for name, span in train.source_ranges.items()} == {
        "labeled": 2,
        "unlabeled": 1,
    }
    assert "gt_sem_seg" not in train[2]["data_samples"]


def test_half_made_input(files, city, snapshot):
    refused("train.* 2 .* 2975", files.root, subset=False)
    ids = files.root / f"gtFine/train/{TRAIN[1]}_gtFine_labelIds.png"
    files.mask(f"gtFine/train/{TRAIN[1]}_gtFine_labelIds.png", [40])
    refused(f"{TRAIN[1]}.* 40.* 0-33", files.root)
    ids.unlink()
    before = snapshot()
    refused(f"_gtFine_labelIds.png.*{TRAIN[1]}", files.root)
    assert snapshot() == before
    for path in files.root.rglob("*_labelTrainIds.png"):
        path.unlink()
    polygon_file(
        files.root / f"gtFine/train/{TRAIN[1]}_gtFine_polygons.json", ("cat", box(0, 0, 9, 9))
    )
    polygon_file(files.root / f"gtFine/train/{TRAIN[0]}_gtFine_polygons.json")
    polygon_file(files.root / f"gtFine/val/{VAL[0]}_gtFine_polygons.json")
    refused(f"{TRAIN[1]}.*'cat'", files.root, source="polygons")
    refused("gtFine/leftImg8bit/train", files.root / "gtFine")


def test_the_published_lists_have_the_hashes(capsys):
    folder = SHARED / "cac" / "city_splits0"
    if not folder.is_dir():
        pytest.skip(f"the authors' lists are not part of the repository ({folder})")
    for file, part in (("2975_train_supervised", "train"), ("val", "val")):
        cityscapes.PARTS[part].check(read_id_list(folder / f"{file}.txt"))
        assert "as expected" in capsys.readouterr().out
