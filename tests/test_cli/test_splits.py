# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""``mmsemi splits``: its commands on made-up data, and what they refuse."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mmsemi.cli.splits import main
from mmsemi.datasets.splits import (
    PROTOCOLS,
    CountSplit,
    ListSplit,
    PublishedSplit,
    RatioSplit,
    ids_sha256,
    read_id_list,
)
from mmsemi.errors import ConfigError, UserError

ADE = [f"ADE_train_{number:08d}" for number in range(1, 20211)]


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def ade_root(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("ade")
    (root / "images" / "training").mkdir(parents=True)
    for name in ADE:
        (root / "images" / "training" / f"{name}.jpg").touch()
    return root


@pytest.mark.parametrize("command", ["", "list", "masters", "make", "import", "sample", "verify"])
def test_help(command, capsys):
    with pytest.raises(SystemExit) as stop:
        main([*command.split(), "--help"])
    assert stop.value.code == 0 and "usage" in capsys.readouterr().out


def test_masters_then_make_then_verify(here, ade_root, capsys):
    assert main(["masters", "--dataset", "ade", "--data-root", str(ade_root)]) == 0
    assert read_id_list("splits/masters/ade.txt") == ADE
    assert main(["make", "--protocol", "v2_ade_1of32"]) == 0
    folder = here / "splits" / "v2_ade_1of32"
    record = json.loads((folder / "split.json").read_text())
    assert record["labeled"]["order_sha256"] == PROTOCOLS["v2_ade_1of32"].labeled.order_sha256
    assert record["how"] == "computed" and record["master_sha256"].startswith("6bb3631c")
    assert main(["verify", str(folder)]) == 0
    assert "published split: v2_ade_1of32" in capsys.readouterr().out
    labeled = [f"{folder}/{half}.txt" for half in ("labeled", "unlabeled")]
    by_file = ListSplit(*labeled)(ADE)
    assert tuple(map(sorted, by_file)) == PublishedSplit("v2_ade_1of32")(ADE)
    (folder / "labeled.txt").write_text("x\n")
    assert main(["verify", str(folder)]) == 1
    assert "WRONG" in capsys.readouterr().out


def test_make_takes_a_data_root(here, ade_root):
    arguments = ["make", "--protocol", "v2_ade_1of64", "--data-root", str(ade_root), "--out", "x"]
    assert main(arguments) == 0
    assert ids_sha256(read_id_list("x/labeled.txt")) == PROTOCOLS["v2_ade_1of64"].labeled.sha256


def test_a_computed_split_imports_from_its_files_too(here, capsys):
    labeled, unlabeled = PublishedSplit("v2_ade_1of64")(ADE)
    for name, ids in (("l.txt", labeled), ("u.txt", unlabeled)):
        lines = [f"images/training/{item}.jpg annotations/training/{item}.png" for item in ids]
        Path(name).write_bytes("\r\n".join(lines).encode())
    files = ["--file-labeled", "l.txt", "--file-unlabeled", "u.txt"]
    assert main(["import", "--protocol", "v2_ade_1of64", *files]) == 0
    assert "'l.txt' has CRLF line ends" in capsys.readouterr().out
    record = json.loads(Path("splits/v2_ade_1of64/split.json").read_text())
    assert [file["name"] for file in record["files"]] == ["l.txt", "u.txt"]
    assert record["unlabeled"]["sha256"] == PROTOCOLS["v2_ade_1of64"].unlabeled.sha256


@pytest.mark.parametrize("size", [["--ratio", "1/8"], ["--count", "5"]])
def test_sample_is_what_the_config_would_draw(here, data_root, semi_config, size):
    from mmseg.registry import DATASETS

    images = str(data_root / "images" / "train")
    assert main(["sample", "--data-root", images, *size, "--seed", "3", "--out", "s"]) == 0
    split = dict(type="RatioSplit", ratio=1 / 8) if size[0] == "--ratio" else None
    split = split or dict(type="CountSplit", count=5)
    dataset = DATASETS.build({**semi_config, "split": {**split, "seed": 3}})
    assert read_id_list("s/labeled.txt") == dataset.labeled_ids
    assert read_id_list("s/unlabeled.txt") == dataset.unlabeled_ids
    from_files = dict(type="ListSplit", labeled="s/labeled.txt", unlabeled="s/unlabeled.txt")
    assert DATASETS.build({**semi_config, "split": from_files}).labeled_ids == dataset.labeled_ids


def test_sample_of_a_list_nests_and_rounds(here, capsys):
    ids = [f"city/id{number:03d}" for number in range(100)]
    Path("all.txt").write_text("\n".join(f"{i}_leftImg8bit.png mask" for i in reversed(ids)))
    base = ["sample", "--list", "all.txt", "--seed", "1", "--out"]
    assert main([*base, "a", "--ratio", "0.125"]) == 0
    assert read_id_list("a/labeled.txt") == RatioSplit(0.125, seed=1)(ids)[0]
    assert main([*base, "b", "--ratio", "1/8", "--rounding", "ceil", "--nested", "a"]) == 0
    assert len(read_id_list("b/labeled.txt")) == 13
    assert main([*base, "c", "--count", "30", "--nested", "b"]) == 0
    assert read_id_list("c/labeled.txt") == CountSplit(30, seed=1)(ids)[0]
    with pytest.raises(ConfigError, match="'c'"):
        main([*base, "d", "--count", "13", "--nested", "c"])
    assert not Path("d").exists()


@pytest.mark.parametrize(
    ("arguments", "culprit"),
    [
        ("masters --dataset ade", "--data-root"),
        ("masters --dataset ade --data-root nowhere", "'nowhere'"),
        ("make --protocol classic_voc_92", "classic_voc_92"),
        ("make --protocol cps_voc_1of9", "'cps_voc_1of9'"),
        ("make --protocol cps_voc_1of8", "voc"),
        ("make --protocol cps_city_1of8", "city_cps"),
        ("import --file-labeled x", "--protocol or --master"),
        ("import --protocol classic_voc_92", "--file-labeled"),
        ("import --protocol classic_voc_92 --file-labeled x", "'x'"),
        ("import --master city_x x", "voc_aug"),
        ("import --master city_cps x", "'x'"),
        ("sample --list x --out o", "--ratio or --count"),
        ("sample --count 1 --out o", "--data-root FOLDER .* or --list"),
        ("sample --list x --ratio 2 --out o", "'2'"),
        ("sample --list x --ratio 1/0 --out o", "'1/0'"),
        ("sample --data-root x --ratio 1/8 --out o", "'x'"),
        ("verify nowhere", "nowhere"),
    ],
)
def test_mistakes_are_named(here, arguments, culprit):
    with pytest.raises(UserError, match=culprit) as error:
        main(arguments.split())
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("files", "culprit"), [(("a.jpg", "a.png"), "'a'"), (("my image.jpg",), "'my image'")]
)
def test_sample_writes_no_list_that_cannot_be_read(here, files, culprit):
    Path("images").mkdir()
    for name in files:
        Path("images", name).touch()
    with pytest.raises(UserError, match=culprit):
        main(["sample", "--data-root", "images", "--count", "1", "--out", "o"])
    assert not Path("o").exists()


def test_a_list_that_is_no_text_and_a_place_that_cannot_be_written(here):
    Path("photo.jpg").write_bytes(b"\xff\xd8\xff\xe0")
    with pytest.raises(UserError, match=r"photo\.jpg"):
        main(["import", "--protocol", "classic_voc_92", "--file-labeled", "photo.jpg"])
    Path("all.txt").write_text("a\nb\n")
    with pytest.raises(OSError, match=r"all\.txt"):
        main(["sample", "--list", "all.txt", "--count", "1", "--out", "all.txt"])


def test_list_describes_one_protocol(capsys):
    assert main(["list", "--protocol", "cps_voc_pseudoseg_1of16"]) == 0
    text = capsys.readouterr().out
    assert "labeled: 92 images" in text and "published: DATA/pascal_voc/subset_train_aug" in text
    assert "one image in both lists" in text
