# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""``mmsemi init`` on folders of strangers: the written config loads the right labels, or the reason is told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from init_folders import (
    init,
    labels,
    lists,
    row_of_labels,
    write_image,
    write_mask,
    write_set,
)
from mmseg.registry import DATASETS, MODELS
from PIL import Image

from mmsemi.cli.init import main
from mmsemi.errors import ConfigError, DataError

pytestmark = pytest.mark.usefixtures("quick_garbage_collection", "folder")


# --- What masks store -----------------------------------------------------------------------------


def test_index_masks_need_no_table_and_the_config_trains_on_its_lists():
    write_set(labels(values=(0, 1, 255)).astype(np.uint8))
    config = init()
    assert "label_table" not in config.val_dataloader.dataset
    assert row_of_labels(config) == [0, 1, 255]
    found = lists()
    assert [len(found[name]) for name in ("labeled", "val", "unlabeled")] == [5, 1, 4]
    assert config.model.type == "FixMatch" and config.model.segmentor.decode_head.num_classes == 2
    dataset = DATASETS.build(config.train_dataloader.dataset)
    assert len(dataset.source_ranges["labeled"]) == 5
    assert len(dataset.source_ranges["unlabeled"]) == 4
    assert dataset.sources["unlabeled"].img_paths == [f"more/{n}" for n in found["unlabeled"]]
    # Colours of classes that have none.
    assert len({tuple(colour) for colour in dataset.metainfo["palette"]}) == 2
    assert MODELS.build(config.model).num_classes == 2


GREY_16 = labels(values=(0, 1000, 40000)).astype(np.uint16)
RED_BLUE = labels(values=((255, 0, 0), (0, 0, 255), (255, 255, 255))).astype(np.uint8)


@pytest.mark.parametrize(
    ("stored", "classes", "options", "expected"),
    [
        (labels(values=(0, 255)).astype(np.uint8), "ground,object", [], [0, 1]),
        (labels(values=(0, 255)).astype(np.uint8), "object", [], [0, 1]),
        (labels(values=(0, 255)) > 0, "ground,object", [], [0, 1]),
        (labels(values=(1, 2, 3)).astype(np.uint8), "a,b,c", [], [0, 1, 2]),
        (labels(values=(10, 20, 255)).astype(np.uint8), "a,b", [], [0, 1, 255]),
        (labels(values=(0, 1, 2)).astype(np.uint8), "a,b", ["--void", "0"], [255, 0, 1]),
        (GREY_16, "a,b,c", [], [0, 1, 2]),
        (GREY_16, "a=0,b=*", [], [0, 1]),
        (GREY_16, "a=40000,b=0+1000", [], [1, 0]),
        (labels(values=((0, 0, 0), (255, 255, 255))).astype(np.uint8), "ground,object", [], [0, 1]),
        (RED_BLUE, "a=#0000ff,b=#ff0000", ["--void", "#ffffff"], [1, 0, 255]),
    ],
    ids=["0-255", "one-class", "1-bit", "from-1", "levels-void", "void", "16-bit", "rest", "several",
         "black-white", "rgb"],
)  # fmt: skip
def test_codes_of_masks_become_a_label_table(stored, classes, options, expected):
    write_set(stored)
    config = init(*options, classes=classes)
    assert row_of_labels(config) == expected
    train = DATASETS.build(config.train_dataloader.dataset)
    sample = train.sources["labeled"].load(0)["data_samples"]
    assert set(sample.gt_sem_seg.data.unique().tolist()) <= {*expected, 255}


def test_a_value_that_the_table_does_not_list_stops_the_training():
    write_set(labels(values=(0, 255)).astype(np.uint8))
    config = init()
    image, mask = lists()["val"][0].split("\t")
    write_mask(mask, labels(values=(0, 7)).astype(np.uint8))
    with pytest.raises(DataError, match="7"):
        row_of_labels(config)


def test_palettes_that_differ_are_read_as_colours():
    write_set(labels(values=(0, 1)).astype(np.uint8))
    for number in range(6):
        mask = Image.fromarray(labels(values=(0, 1) if number % 2 else (1, 0)).astype(np.uint8))
        first = (0, 0, 0), (200, 10, 10)
        mask.putpalette([v for c in (first if number % 2 else first[::-1]) for v in c])
        mask.save(f"masks/i{number}.png")
    assert row_of_labels(init()) == [0, 1]


@pytest.mark.parametrize(
    ("stored", "classes", "told"),
    [
        (RED_BLUE, "a,b,c", "#ff0000"),
        (RED_BLUE, "a=#0000ff,b=#ff0000", "#ffffff"),
        (labels(values=(0, 1, 2)).astype(np.uint8), "a,b", "--void"),
        (labels(values=(0, 100, 255)).astype(np.uint8), "a,b,c,d", "100"),
        (labels(values=(0, 0)).astype(np.uint8), "a,b", "0"),
        (labels(values=(0, 1, 2)).astype(np.uint8), "a", "several values"),
        (np.arange(48 * 40, dtype=np.uint16).reshape(40, 48), "ground,object", "object=\\*"),
        (labels(values=(0, 1)).astype(np.uint8), "a=#000000,b=#ffffff", "#000000"),
    ],
)
def test_what_cannot_be_told_is_asked_for(stored, classes, told):
    write_set(stored)
    with pytest.raises((DataError, ConfigError), match=told):
        init(classes=classes)
    assert not Path("my.py").exists()


def test_jpeg_masks_are_refused():
    write_set(labels(values=(0, 255)).astype(np.uint8))
    for path in list(Path("masks").iterdir()):
        noisy = np.random.default_rng(0).integers(0, 2, (40, 48)).astype(np.uint8) * 255
        write_mask(str(path.with_suffix(".jpg")), noisy)
        path.unlink()
    with pytest.raises(DataError, match="JPEG"):
        init()


# --- Names ----------------------------------------------------------------------------------------


def test_mixed_suffixes_and_nested_folders():
    stored = labels(values=(0, 1)).astype(np.uint8)
    for number, suffix in enumerate((".jpg", ".PNG", ".tif", ".bmp", ".jpeg")):
        write_image(f"images/day{number % 2}/deep/i{number}{suffix}", number)
        write_mask(f"masks/day{number % 2}/deep/i{number}.png", stored)
    write_image("images/day0/free.png", 50)  # without a mask: unlabelled
    config = init()
    found = lists()
    assert len(found["labeled"]) + len(found["val"]) == 5
    assert found["unlabeled"] == ["day0/free.png"]
    assert row_of_labels(config) == [0, 1]


def test_unlabelled_images_of_one_name_in_several_folders():
    write_set(labels().astype(np.uint8), 3, 0)
    names = ["images/x/u.png", "images/u.png", "more/u.png"]
    for number, name in enumerate(names):
        write_image(name, 60 + number)
    for chosen in (["images"], ["images", "more"]):
        train = DATASETS.build(init("--unlabeled", *chosen).train_dataloader.dataset)
        expected = sorted(name for name in names if name.split("/")[0] in chosen)
        assert train.sources["unlabeled"].img_paths == expected


def test_masks_with_a_word_in_their_name_beside_the_images(capsys):
    for number in range(4):
        write_image(f"images/{number}_image.png", number)
        write_mask(f"images/{number}_mask.png", labels().astype(np.uint8))
    write_image("more/u.png", 99)
    main(["--images", "images", "--masks", "images", "--unlabeled", "more", "--classes", "a,b"])
    pairs = [line.split("\t") for line in lists()["labeled"] + lists()["val"]]
    assert sorted(pairs) == [[f"images/{n}_image.png", f"images/{n}_mask.png"] for n in range(4)]


def test_names_that_fit_nothing_or_twice_are_refused():
    write_set(labels().astype(np.uint8))
    write_image("images/i0.jpg", 7)
    with pytest.raises(DataError, match=r"i0\.(jpg|png)"):
        init()
    for path in Path("images").iterdir():
        path.rename(path.with_name(f"x{path.name}"))
    with pytest.raises(DataError, match="no mask has the name"):
        init()


# --- Images ---------------------------------------------------------------------------------------


def exif(orientation: int) -> Image.Exif:
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


def test_exif_is_ignored_where_masks_are_as_stored_and_kept_where_they_are_turned():
    write_set(labels().astype(np.uint8))
    write_image("images/turned.jpg", 20, exif=exif(6))
    write_mask("masks/turned.png", labels().astype(np.uint8))
    config = init()
    assert config.load[0].color_type == "color_ignore_orientation"
    train = DATASETS.build(config.train_dataloader.dataset)
    assert {train.sources["labeled"].load(i)["data_samples"].ori_shape for i in range(5)} == {
        (40, 48)
    }
    for number in range(2):
        write_image(f"v/v{number}.png", 200 + number)  # without tags
        write_mask(f"vm/v{number}.png", labels().astype(np.uint8))
    assert init("--val-images", "v", "--val-masks", "vm").load[0].color_type
    write_mask("masks/turned.png", labels((40, 48)).astype(np.uint8))
    assert "color_type" not in init().load[0]
    write_image("images/i0.jpg", 20, exif=exif(6))
    Path("images/i0.png").unlink()
    with pytest.raises(DataError, match="i0.jpg"):  # one of each
        init()


def test_exif_that_sizes_do_not_tell_is_asked_about():
    write_set(labels().astype(np.uint8))
    write_image("images/upside.jpg", 20, exif=exif(3))
    write_mask("masks/upside.png", labels().astype(np.uint8))
    with pytest.raises(DataError, match="upside.jpg"):
        init()


@pytest.mark.parametrize("fault", ["size", "broken", "dark"])
def test_images_that_cannot_be_trained_on_are_named(fault):
    write_set(labels().astype(np.uint8))
    if fault == "size":
        write_mask("masks/i3.png", labels((20, 20)).astype(np.uint8))
    elif fault == "broken":
        Path("images/i3.png").write_bytes(Path("images/i3.png").read_bytes()[:100])
    else:  # 12 bits in 16
        deep = np.random.default_rng(0).integers(0, 4096, (40, 48)).astype(np.uint16)
        write_mask("images/i3.png", deep)
    with pytest.raises(DataError, match="4095|4094" if fault == "dark" else "i3.png"):
        init()
