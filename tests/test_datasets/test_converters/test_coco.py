# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""COCO masks from a tiny annotation file with every kind of region."""

from __future__ import annotations

import json

import numpy as np
import pytest

from mmsemi.datasets.coco import COCO81Dataset, voc_palette
from mmsemi.datasets.converters import coco
from mmsemi.datasets.converters.common import TargetDiffersError
from mmsemi.errors import DataError

NAMES = COCO81Dataset.METAINFO["classes"][1:]
# COCO's ids have gaps; here every id is three times the class.
CATEGORIES = [dict(id=3 * i, name=name) for i, name in enumerate(NAMES, 1)]


def box(x0, y0, x1, y1) -> list[float]:
    return [x0, y0, x1, y0, x1, y1, x0, y1]


def region(image: int, category: int, segmentation, area: float, iscrowd: int = 0) -> dict:
    return dict(
        image_id=image,
        category_id=3 * category,
        segmentation=segmentation,
        area=area,
        iscrowd=iscrowd,
    )


@pytest.fixture
def annotated(files):
    """Two training images, one of them without annotation, and a validation image."""
    images = [dict(id=i, file_name=f"{i:012d}.jpg", height=30, width=40) for i in (7, 9)]
    # Column-major runs: 60 = two columns outside, 60 inside, the rest outside.
    runs = dict(size=[30, 40], counts=[60, 60, 1080])
    annotations = [
        region(7, 1, [box(10, 10, 14, 14)], 16),  # on top of the larger ones below
        region(7, 80, [box(8, 8, 30, 20), box(32, 0, 36, 4)], 280),
        region(7, 5, runs, 900, iscrowd=1),
        region(7, 2, [box(3, 0, 4, 2)], 2),  # inside the crowd
    ]
    for part, items in (("train2017", images), ("val2017", [{**images[0], "id": 1}])):
        for item in items:
            files.image(f"{part}/{item['file_name']}")
        content = dict(images=items, categories=CATEGORIES[::-1], annotations=[])
        if part == "train2017":
            content["annotations"] = annotations
        files.text(f"annotations/instances_{part}.json", json.dumps(content))
    (files.root / "val2017" / "000000000007.jpg").rename(files.root / "val2017/000000000001.jpg")
    path = files.root / "annotations/instances_val2017.json"
    path.write_text(path.read_text().replace("000000000007", "000000000001"))
    return files


def convert(files, **settings) -> None:
    coco.convert(files.root, **{"subset": True, **settings})


def test_classes_and_palette():
    meta = COCO81Dataset.METAINFO
    assert len(meta["classes"]) == len(set(meta["classes"])) == len(meta["palette"]) == 81
    assert meta["classes"][:3] == ("background", "person", "bicycle")
    assert meta["classes"][-1] == "toothbrush" and meta["classes"].index("dining table") == 61
    assert len({tuple(colour) for colour in voc_palette(256)}) == 256
    # The colours that everybody knows from VOC.
    assert voc_palette(21)[1] == [128, 0, 0] and voc_palette(21)[15] == [192, 128, 128]


def test_masks(annotated, indices, snapshot, build_config, capsys):
    before = snapshot()
    convert(annotated)
    mask = indices(annotated.root / "masks/000000000007.png")
    expected = np.zeros((30, 40), np.uint8)
    expected[:, 2:4] = 255
    expected[0:2, 3] = 2
    expected[8:20, 8:30] = 80
    expected[0:4, 32:36] = 80
    expected[10:14, 10:14] = 1
    assert np.array_equal(mask, expected)
    assert not indices(annotated.root / "masks/000000000009.png").any()
    after = snapshot()
    assert {key: after[key] for key in before} == before
    convert(annotated)
    convert(annotated, check=True)
    assert snapshot() == after
    assert "0 written, 2 there already; values 0-2, 80, 255" in capsys.readouterr().out
    train, val = build_config("coco_unimatch", "data/coco", annotated.root, split=None)
    assert (len(train), len(val)) == (2, 1) and len(train.metainfo["classes"]) == 81
    train[0], val[0]


def test_drawing_a_part_of_the_image_is_the_same():
    random = np.random.default_rng(0)
    for _ in range(30):
        points = random.uniform(-15, 15, 2) + random.uniform(0, 40, (6, 2))
        shape = [points.ravel().tolist()]
        mask = coco.draw_regions([coco.Region(7, 1.0, shape)], 30, 40)
        assert np.array_equal(mask == 7, coco.fill_polygon(points, 30, 40))
    outside = [box(50, 5, 60, 9), box(-9, -9, -1, -1)]
    assert not coco.draw_regions([coco.Region(7, 1.0, outside)], 30, 40).any()
    line = [[1, 1, 9, 9], [], box(2, 2, 4, 4)]
    assert coco.draw_regions([coco.Region(7, 1.0, line)], 30, 40).sum() == 4 * 7


def test_crowds_may_have_their_class(annotated, indices):
    convert(annotated, crowd="class", out=annotated.root / "other")
    mask = indices(annotated.root / "other/000000000007.png")
    assert (mask[5:, 2:4] == 5).all() and (mask[0:2, 3] == 2).all() and 255 not in mask


def test_masks_made_elsewhere(annotated, snapshot):
    """Such as UniMatch's: checked, never replaced."""
    for name in ("000000000007", "000000000009", "000000000001"):
        annotated.mask(f"masks/{name}.png", [0, 80])
    before = snapshot()
    with pytest.raises(TargetDiffersError, match="000000000007.png"):
        convert(annotated)
    convert(annotated, check=True)
    assert snapshot() == before
    annotated.mask("masks/000000000009.png", [90])
    with pytest.raises(DataError, match="000000000009.png.* 90.* 0-80 and 255"):
        convert(annotated, check=True)
    (annotated.root / "masks/000000000009.png").unlink()
    with pytest.raises(DataError, match="masks.*000000000009"):
        convert(annotated, check=True)


def test_two_processes_give_the_same(annotated):
    convert(annotated)
    convert(annotated, out=annotated.root / "two", nproc=2)
    for path in (annotated.root / "masks").iterdir():
        assert path.read_bytes() == (annotated.root / "two" / path.name).read_bytes()


def test_half_made_input(annotated, snapshot):
    path = annotated.root / "annotations/instances_train2017.json"
    content = json.loads(path.read_text())

    def refused(value: str, early: bool = True, **changes) -> None:
        path.write_text(json.dumps({**content, **changes}))
        before = snapshot()
        with pytest.raises(DataError, match=value):
            convert(annotated, parts=["train2017"])
        path.write_text(json.dumps(content))
        assert not early or set(snapshot()) == set(before)

    with pytest.raises(DataError, match="train2017.* 2 .* 118287"):
        convert(annotated, subset=False)
    refused(r"instances_train2017.json.* 1 .*person", categories=CATEGORIES[:1])
    refused("instances_train2017.json.*file_name", images=[{}])
    refused("train2017.*000000000009", images=content["images"][:1])
    extra = dict(id=8, file_name="000000000008.jpg", height=30, width=40)
    refused("train2017.*000000000008", images=[*content["images"], extra])
    wrong_size = [{**content["images"][0], "width": 41}, content["images"][1]]
    refused("000000000007.jpg.*41x30", early=False, images=wrong_size)
    refused("000000000007.*41x30.*40x30", early=False, images=wrong_size, annotations=[])
    broken = region(7, 1, [[1, 2, 3]], 16)
    refused("000000000007.jpg", early=False, annotations=[broken])
    path.write_text("{")
    with pytest.raises(DataError, match="instances_train2017.json"):
        convert(annotated)
    path.unlink()
    path.with_name("instances_val2017.json").rename(path)
    before = snapshot()
    with pytest.raises(DataError, match="instances_val2017.json"):
        convert(annotated)
    assert snapshot() == before
