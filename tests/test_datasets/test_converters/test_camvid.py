# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""CamVid in both public layouts; with the real images where they are present."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmsemi.datasets.converters import camvid
from mmsemi.datasets.converters.camvid import CLASSES, ORIGINAL, group_colours, part_of
from mmsemi.errors import DataError

SHARED = Path(__file__).resolve().parents[4] / "shared" / "data" / "camvid"
NAMES = {
    "train": ["0001TP_006690", "0006R0_f00930", "0016E5_08640"],
    "val": ["0016E5_07959", "0016E5_08159"],
    "test": ["0001TP_008550", "Seq05VD_f00000"],
}


def convert(source: Path, out: Path, **settings) -> None:
    camvid.convert(source, out, **{"subset": True, **settings})


@pytest.fixture
def segnet(files):
    masks = {}
    for part, names in NAMES.items():
        for name in names:
            files.image(f"CamVid/{part}/{name}.png")
            masks[name] = files.mask(f"CamVid/{part}annot/{name}.png", range(12))
    return masks


def test_the_layout_of_segnet(files, segnet, indices, snapshot, build_config):
    before = snapshot()
    out = files.root / "out"
    convert(files.root, out)
    for part, names in NAMES.items():
        for name in names:
            mask = indices(out / "labels" / part / f"{name}.png")
            assert np.array_equal(mask, np.where(segnet[name] == 11, 255, segnet[name]))
            assert (out / "images" / part / f"{name}.jpg").is_file()
    after = snapshot()
    assert {key: after[key] for key in before} == before
    convert(files.root / "CamVid", out)
    assert snapshot() == after
    train, val = build_config("camvid", "data/camvid", out, split=None)
    assert (len(train), len(val)) == (3, 2)
    assert set(np.unique(train[0]["data_samples"].gt_sem_seg.data)) <= {*range(11), 255}


def test_lossless_images(files, segnet):
    out = files.root / "out"
    convert(files.root, out, image_format="png")
    for name in NAMES["val"]:
        pictures = [
            Image.open(root / "val" / f"{name}.png")
            for root in (files.root / "CamVid", out / "images")
        ]
        assert np.array_equal(*map(np.asarray, pictures))


def write_original(files, names, classes=tuple(ORIGINAL)) -> np.ndarray:
    """Blocks of 4x4 pixels in the colours, so that halving keeps each."""
    cells = np.resize(np.arange(len(classes)), (8, 10))
    colours = np.array([ORIGINAL[name][0] for name in classes], np.uint8)[cells]
    for name in names:
        files.image(f"701_StillsRaw_full/{name}.png", (32, 40))
        path = files.root / "LabeledApproved_full" / f"{name}_L.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(colours.repeat(4, 0).repeat(4, 1)).save(path)
    return cells


def test_the_original_layout(files, indices, snapshot):
    cells = write_original(files, [name for names in NAMES.values() for name in names])
    out = files.root / "out"
    convert(files.root, out)
    grouped = [255 if group is None else CLASSES.index(group) for _, group in ORIGINAL.values()]
    expected = np.array(grouped)[cells].repeat(2, 0).repeat(2, 1)
    for part, names in NAMES.items():
        assert sorted(p.stem for p in (out / "labels" / part).iterdir()) == sorted(names)
        for name in names:
            assert np.array_equal(indices(out / "labels" / part / f"{name}.png"), expected)
            assert Image.open(out / "images" / part / f"{name}.jpg").size == (20, 16)
    before = snapshot()
    convert(files.root, out)
    assert snapshot() == before
    convert(files.root, files.root / "full", full_size=True)
    assert indices(files.root / "full/labels/val/0016E5_07959.png").shape == (32, 40)


def test_the_grouping():
    assert len(ORIGINAL) == 32 and len({colour for colour, _ in ORIGINAL.values()}) == 32
    assert {group for _, group in ORIGINAL.values()} == {*CLASSES, None}
    colours = np.zeros((50, 50, 3), np.uint8)
    colours[:] = ORIGINAL["LaneMkgsDriv"][0]
    colours[0, 0] = (1, 2, 3)  # one of 2,500 pixels
    mask = group_colours(colours, Path("a_L.png"))
    assert mask[0, 0] == 255 and (mask.ravel()[1:] == CLASSES.index("Road")).all()
    colours[0] = (1, 2, 3)
    with pytest.raises(DataError, match=r"a_L.png.* \[1, 2, 3\].*2.0%"):
        group_colours(colours, Path("a_L.png"))


def test_half_made_input(files, segnet, snapshot):
    def refused(value: str, source: Path, **settings) -> None:
        before = snapshot()
        with pytest.raises(DataError, match=value):
            convert(source, files.root / "out", **settings)
        assert snapshot() == before

    refused("train.* 3 .* 367", files.root, subset=False)
    refused("nowhere", files.root / "nowhere")
    mask = files.root / "CamVid/trainannot/0016E5_08640.png"
    mask.rename(files.root / "held.png")
    refused("trainannot.*0016E5_08640", files.root)
    (files.root / "held.png").rename(mask)
    (files.root / "CamVid/train/0016E5_08640.png").unlink()
    refused("train'.*0016E5_08640", files.root)


def test_strange_originals(files):
    def refused(value: str) -> None:
        with pytest.raises(DataError, match=value):
            convert(files.root, files.root / "out")

    write_original(files, ["0001TP_006690", "0016E5_07959"])
    files.image("701_StillsRaw_full/0001TP_more1.png", (32, 40))
    refused("LabeledApproved_full.*0001TP_more1")
    files.image("LabeledApproved_full/0001TP_more1_L.png", (32, 40))
    refused("0001TP_more1")
    for path in files.root.rglob("*more1*"):
        path.unlink()
    files.image("LabeledApproved_full/0016E5_07959_L.png", (32, 40))
    refused("0016E5_07959_L.png.* 32 ")
    files.image("copy/0001TP_006690_L.png")
    refused("copy")


def test_parts_and_masks_of_the_real_images(files, indices, capsys):
    if not SHARED.is_dir():
        pytest.skip(f"the images are not part of the repository ({SHARED})")
    chosen = {}
    for part in ("train", "val"):
        names = sorted(path.stem for path in (SHARED / "images" / part).glob("*.jpg"))
        assert all(part_of(name) == part for name in names)
        camvid.PARTS[part].check(names)
        assert "as expected" in capsys.readouterr().out
        name = names[0]  # back to SegNet's layout, and forth again
        labels = indices(SHARED / "labels" / part / f"{name}.png")
        (files.root / f"{part}annot").mkdir()
        (files.root / part).mkdir()
        Image.fromarray(np.where(labels == 255, 11, labels)).save(
            files.root / f"{part}annot" / f"{name}.png"
        )
        Image.open(SHARED / "images" / part / f"{name}.jpg").save(files.root / part / f"{name}.png")
        chosen[part] = name
    convert(files.root, files.root / "out")
    for part, name in chosen.items():
        assert np.array_equal(
            indices(files.root / "out/labels" / part / f"{name}.png"),
            indices(SHARED / "labels" / part / f"{name}.png"),
        )
