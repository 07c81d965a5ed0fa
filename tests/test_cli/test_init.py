# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""``mmsemi init`` on folders of strangers: the written config loads the right labels, or the reason is told."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config
from mmseg.registry import DATASETS, MODELS
from PIL import Image

from mmsemi.cli.init import main
from mmsemi.errors import ConfigError, DataError
from mmsemi.utils.config_files import read_config

REPOSITORY = Path(__file__).resolve().parents[2]
SIZE_WH = (48, 40)


@pytest.fixture(autouse=True)
def quick_garbage_collection():
    """mmengine collects garbage for each data set, which visits all of torch's objects."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch) -> Path:
    """All relative paths are the test's."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_image(path: str, seed: int, size_wh=SIZE_WH, **save) -> None:
    """Large blobs of colour, different for each seed, so that no two look alike."""
    generator = np.random.default_rng(seed)
    coarse = generator.integers(0, 256, (5, 6, 3), dtype=np.uint8)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(coarse).resize(size_wh, Image.Resampling.BICUBIC).save(path, **save)


def labels(size_wh=SIZE_WH, values=(0, 1)) -> np.ndarray:
    """Vertical bands of the values."""
    width, height = size_wh
    row = np.array(values)[np.arange(width) * len(values) // width]
    return (
        np.tile(row, (height,) + (1,) * row.ndim) if row.ndim == 1 else np.tile(row, (height, 1, 1))
    )


def write_mask(path: str, stored: np.ndarray, **save) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(stored).save(path, **save)


def write_set(stored: np.ndarray, count: int = 6, unlabeled: int = 4) -> None:
    """``images/i0.png`` with ``masks/i0.png``, ..., and ``more/u0.png``, ..."""
    for number in range(count):
        write_image(f"images/i{number}.png", number)
        write_mask(f"masks/i{number}.png", stored)
    for number in range(unlabeled):
        write_image(f"more/u{number}.png", 100 + number)


def init(*options: str, classes: str = "ground,object") -> Config:
    arguments = ["--images", "images", "--masks", "masks", "--classes", classes]
    if "--unlabeled" not in options and Path("more").is_dir():
        arguments += ["--unlabeled", "more"]
    assert main([*arguments, *options, "--force"]) == 0
    return read_config("my.py")


def lists() -> dict[str, list[str]]:
    return {p.stem: p.read_text().splitlines() for p in Path("my_lists").iterdir()}


def row_of_labels(config: Config) -> list[int]:
    """The middle row of the first validation mask as the config loads it, without repetitions."""
    dataset = DATASETS.build(config.val_dataloader.dataset)
    row = dataset[0]["data_samples"].gt_sem_seg.data[0, 20].tolist()
    return [value for value, before in zip(row, [None, *row]) if value != before]


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


# --- Few images, and validation -------------------------------------------------------------------


@pytest.mark.parametrize("count", [3, 5])
def test_few_masks(count, capsys):
    write_set(labels().astype(np.uint8), count)
    init()
    assert len(lists()["labeled"]) == count - 1 and len(lists()["val"]) == 1
    assert "rough" in capsys.readouterr().out


def test_one_mask_or_nothing_without_a_mask_is_refused_with_what_to_give():
    write_set(labels().astype(np.uint8), 1)
    with pytest.raises(DataError, match="--val-images"):
        init()
    write_set(labels().astype(np.uint8), 3)
    with pytest.raises(DataError, match="--method supervised"):
        init("--unlabeled", "images")
    config = init("--unlabeled", "images", "--method", "supervised")
    assert config.train_dataloader.sampler.num_per_source == dict(labeled=4, unlabeled=0)


def test_scenes_are_held_out_whole_with_their_unlabelled_images():
    for scene in "abcd":
        for number in range(4):
            write_image(f"images/{scene}x_{number:03}.png", ord(scene) * 10 + number)
            write_mask(f"masks/{scene}x_{number:03}.png", labels().astype(np.uint8))
        write_image(f"more/{scene}x_100.png", ord(scene) * 10 + 9)
    init()
    found = {name: {Path(line).name[0] for line in lines} for name, lines in lists().items()}
    assert len(found["val"]) == 1 and not found["val"] & (found["labeled"] | found["unlabeled"])
    assert found["labeled"] | found["val"] == set("abcd") and len(found["unlabeled"]) == 3


def test_no_validation_image_is_unlabelled_nor_a_copy_of_one():
    write_set(labels().astype(np.uint8))
    config = init()
    held = lists()["val"][0].split("\t")[0]
    with Image.open(held) as picture:
        picture.resize((96, 80)).save("more/copy.jpg", quality=60)
    init("--unlabeled", "more", "images")
    assert len(lists()["unlabeled"]) == 4 and held == lists()["val"][0].split("\t")[0]
    for number in range(2):
        write_image(f"v/v{number}.png", 200 + number)
        write_mask(f"vm/v{number}.png", labels().astype(np.uint8))
    Path("v/v2.png").write_bytes(Path("images/i0.png").read_bytes())
    write_mask("vm/v2.png", labels().astype(np.uint8))
    init("--val-images", "v", "--val-masks", "vm")
    found = lists()
    assert len(found["val"]) == 3 and len(found["labeled"]) == 5
    assert not any("i0.png" in line for line in found["labeled"])
    assert config.val_dataloader.dataset.ann_file == "my_lists/val.txt"


def test_a_class_without_a_mask_is_told(capsys):
    write_set(labels().astype(np.uint8))
    init(classes="a,b,c")
    assert "'c'" in capsys.readouterr().out


# --- The file -------------------------------------------------------------------------------------


def test_large_images_are_made_smaller_and_labels_of_validation_are_not():
    write_set(labels().astype(np.uint8), 0)
    for number in range(3):
        write_image(f"images/i{number}.png", number, (1280, 960))
        write_mask(f"masks/i{number}.png", labels((1280, 960)).astype(np.uint8))
    config = init()
    sample = DATASETS.build(config.val_dataloader.dataset)[0]
    assert sample["inputs"].shape == (3, 768, 1024)
    assert sample["data_samples"].gt_sem_seg.shape == (960, 1280)


@pytest.mark.parametrize("method", ["mean_teacher", "cutmix_mean_teacher", "unimatch", "augseg"])
def test_every_method_builds(method):
    write_set(labels().astype(np.uint8), 3)
    config = init("--method", method, "--model", "deeplabv3plus_r18")
    assert MODELS.build(config.model).num_classes == 2


def test_any_mmseg_config_is_a_model():
    write_set(labels(values=(0, 255)).astype(np.uint8), 3)
    name = "mmseg::fcn/fcn_r18-d8_4xb2-80k_cityscapes-512x1024.py"
    config = init("--model", name, "--method", "cps")
    assert config.model.segmentor.decode_head.num_classes == 2
    assert config.model.segmentor.auxiliary_head.num_classes == 2
    assert MODELS.build(config.model).num_classes == 2
    DATASETS.build(config.train_dataloader.dataset)
    assert row_of_labels(config) == [0, 1]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--method", "fixmach"], "fixmatch"),
        (["--model", "resnet"], "deeplabv3plus_r18"),
        (["--budget", "0"], "--budget"),
        (["--crop", "8"], "--crop"),
        (["--val-images", "images"], "--val-masks"),
        (["-o", "my.txt"], "my.txt"),
        (["--masks", "none"], "none"),
        (["--classes", "a,a"], "a,a"),
        (["--classes", "a=1,b"], "'b'"),
        (["--classes", "a=x,b=1"], "'x'"),
    ],
)
def test_wrong_usage_is_refused(options, told):
    write_set(labels().astype(np.uint8), 3)
    with pytest.raises((ConfigError, DataError), match=told):
        init(*options)


def test_an_earlier_config_is_kept():
    write_set(labels().astype(np.uint8), 3)
    Path("my.py").write_text("mine = 1\n")
    with pytest.raises(ConfigError, match="--force"):
        main(["--images", "images", "--masks", "masks", "--classes", "a,b"])
    assert Path("my.py").read_text() == "mine = 1\n"


@pytest.mark.slow
def test_the_written_config_trains_from_the_command_line(tmp_path):
    write_set(labels(values=(0, 255)).astype(np.uint8), 3)
    init("--model", "deeplabv3plus_r18", "--crop", "32", "--budget", "600")
    assert read_config("my.py").train_cfg.max_iters not in (0, 2000)
    options = [
        "train_cfg.max_iters=2",
        "train_cfg.num_validations=1",
        "model.segmentor.backbone.init_cfg=None",
    ]
    command = [sys.executable, "-m", "mmsemi", "train", "my.py", "--cfg-options", *options]
    env = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert Path("work_dirs/my/iter_2.pth").is_file()
