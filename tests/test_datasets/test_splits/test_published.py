# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""The table of published splits and the split of that name, on ADE20K's ids and on a made-up family.

ADE20K numbers its images without gaps, so its splits are checked without any file. Where the authors'
lists are at hand, every computed split is compared with its published hashes.
"""

from __future__ import annotations

import argparse
import copy
import re
from pathlib import Path

import pytest
from mmengine.config import Config, DictAction
from mmseg.registry import DATASETS, TASK_UTILS

from mmsemi.datasets.splits import (
    MASTERS,
    PROTOCOLS,
    PublishedSplit,
    get_protocol,
    ids_sha256,
    read_id_list,
)
from mmsemi.datasets.splits import protocols as table
from mmsemi.datasets.splits.masters import (
    MasterLists,
    MissingListError,
    build_masters,
    check_master,
)
from mmsemi.datasets.splits.protocols import MasterList, Part, PublishedFile, SplitProtocol
from mmsemi.datasets.splits.published import regenerate
from mmsemi.datasets.splits.table import protocol_tables
from mmsemi.errors import ConfigError, DataError

REPOSITORY = Path(__file__).resolve().parents[3]
SHARED = REPOSITORY.parent / "shared" / "reference_splits"
ADE = [f"ADE_train_{number:08d}" for number in range(1, 20211)]
COMPUTED = [name for name, protocol in PROTOCOLS.items() if protocol.generator]


def part(ids: list[str]) -> Part:
    return Part(len(ids), ids_sha256(ids), ids_sha256(ids, order=True))


@pytest.fixture
def toy(monkeypatch) -> SplitProtocol:
    """An import of 4 of the 12 images of the test data set, t00, t03, t06 and t09."""
    names = [f"t{number:02d}" for number in range(12)]
    labeled = names[::3]
    protocol = SplitProtocol(
        name="toy_1of3_f1",
        dataset="toy",
        labeled=part(labeled),
        unlabeled=part([name for name in names if name not in labeled]),
        files=(PublishedFile("cps", "lists/toy.txt", "lists/rest.txt"),),
    )
    monkeypatch.setitem(PROTOCOLS, protocol.name, protocol)
    return protocol


def write(path: Path, lines: list[str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")
    return path


# --- The table ------------------------------------------------------------------------------------


def test_the_table_is_consistent():
    assert len(PROTOCOLS) >= 120
    seen = set()
    for name, protocol in PROTOCOLS.items():
        assert name == protocol.name and name not in seen
        seen.add(name)
        total = MASTERS[table.BASE_MASTER[protocol.dataset]].count if name in COMPUTED else None
        hashes = [protocol.labeled.sha256, protocol.labeled.order_sha256]
        if protocol.unlabeled:
            hashes.append(protocol.unlabeled.sha256)
            whole = protocol.labeled.count + protocol.unlabeled.count
            assert total is None or whole == total or name.startswith(("dmt_", "cac_city_2975"))
        assert all(value is None or re.fullmatch("[0-9a-f]{64}", value) for value in hashes)
        assert all(master in MASTERS for master in protocol.masters)
        assert protocol.files or name.startswith("dmt_")
        assert all("github.com" in file.where for file in protocol.files)
    for name in ("cps_voc_1of2", "cps_voc_1of4", "cps_voc_1of8", "cps_voc_1of16"):
        assert PROTOCOLS[name].is_regenerable


def test_the_table_holds_no_image_names():
    text = (REPOSITORY / "mmsemi/datasets/splits/protocols.json").read_text()
    assert not re.findall(r"20(?:07|08|09|10|11)_\d{6}|[a-z]+_\d{6}_\d{6}|ADE_train_\d+", text)


def test_the_readme_shows_the_table():
    text = (REPOSITORY / "splits" / "README.md").read_text()
    assert text.endswith(protocol_tables()), "write the table anew: python tools/splits.py list"


@pytest.mark.parametrize(
    ("name", "fold", "found"),
    [
        ("cps_voc_1of8", None, "cps_voc_1of8"),
        ("dstcbc_voc_1of8", None, "dstcbc_voc_1of8_f0"),
        ("dstcbc_voc_1of8", 2, "dstcbc_voc_1of8_f2"),
        ("dstcbc_voc_1of8_f2", 2, "dstcbc_voc_1of8_f2"),
        ("cac_city_372", 1, "cac_city_372_d1"),
        ("dmt_voc_1of20_left", 1, "dmt_voc_1of20_left_f1"),
    ],
)
def test_folds_are_chosen_by_name_or_number(name, fold, found):
    assert get_protocol(name, fold).name == PublishedSplit(name, fold).name == found


@pytest.mark.parametrize(
    ("name", "fold", "value"),
    [
        ("cps_voc_1of9", None, "'cps_voc_1of9'.*'cps_voc_1of"),
        ("cps_voc_1of8", 1, "split.fold=1"),
        ("dstcbc_voc_1of8_f0", 1, "split.name='dstcbc_voc_1of8'"),
        ("dstcbc_voc_1of8", 3, " 3 .*0, 1, 2"),
        ("dstcbc_voc_1of8", "1", "split.fold .*'1'"),
    ],
)
def test_wrong_names_and_folds_are_refused(name, fold, value):
    with pytest.raises(ConfigError, match=value):
        PublishedSplit(name, fold)


def test_a_fold_is_an_override():
    parser = argparse.ArgumentParser()
    parser.add_argument("--cfg-options", nargs="+", action=DictAction)
    config = Config(dict(split=dict(type="PublishedSplit", name="dstcbc_voc_1of50")))
    for fold in range(3):
        options = parser.parse_args(["--cfg-options", f"split.fold={fold}"]).cfg_options
        config.merge_from_dict(options)
        assert TASK_UTILS.build(config.split).name == f"dstcbc_voc_1of50_f{fold}"


# --- Computed splits ------------------------------------------------------------------------------


def test_ade_splits_are_computed_from_the_ids_alone():
    """Compared with the published hashes, in order; another folder and order of ids is the same."""
    masters = MasterLists("/nowhere", {"ade": ADE})
    for name in COMPUTED:
        if PROTOCOLS[name].dataset == "ade":
            regenerate(PROTOCOLS[name], masters)
    labeled, unlabeled = PublishedSplit("v2_ade_1of64")([f"training/{i}" for i in reversed(ADE)])
    assert ids_sha256(labeled) == PROTOCOLS["v2_ade_1of64"].labeled.sha256
    assert len(labeled) == 316 and len(unlabeled) == 19894 and labeled == sorted(labeled)
    assert labeled[0].startswith("training/ADE_train_")


def test_another_data_set_is_refused_and_the_difference_named():
    with pytest.raises(DataError, match="'v2_ade_1of8'.* 20210 .*'ADE_train_00000007'"):
        PublishedSplit("v2_ade_1of8")([item for item in ADE if item != "ADE_train_00000007"])
    with pytest.raises(DataError, match="'cps_voc_1of8'.* 10582 "):
        PublishedSplit("cps_voc_1of8")(["2007_000001"])
    with pytest.raises(DataError, match="'dstcbc_city_1of8.*citx: 1 .* 0, .*'citx_0.*RatioSplit"):
        PublishedSplit("dstcbc_city_1of8")(["citx_000000_000019"])


def test_a_rule_that_gives_another_list_is_caught():
    wrong = {**PROTOCOLS["v2_ade_1of64"].__dict__}
    wrong["generator"] = dict(wrong["generator"], seed=1)
    with pytest.raises(RuntimeError, match="v2_ade_1of64"):
        regenerate(SplitProtocol(**wrong), MasterLists("/nowhere", {"ade": ADE}))


def test_every_computed_split_on_the_published_master_lists():
    if not SHARED.is_dir():
        pytest.skip(f"the authors' lists are not part of the repository ({SHARED})")
    cps, unimatch = SHARED / "cps/city/config_new/train.txt", SHARED / "unimatch/pascal/1464"
    sources = dict(
        voc_aug=SHARED / "advsemiseg/train_aug.txt",
        voc_train=unimatch / "labeled.txt",
        s_1464=unimatch / "unlabeled.txt",
        city=cps,
        city_cps=cps,
    )
    lists = {name: check_master(name, read_id_list(file), name) for name, file in sources.items()}
    masters = MasterLists("/nowhere", {**lists, "ade": ADE})
    for name in COMPUTED:
        regenerate(PROTOCOLS[name], masters)
    assert len(COMPUTED) >= 84
    for name in ("sbd_only", "voc_aug_cac"):
        check_master(name, masters.get(name), name)


# --- Imported lists -------------------------------------------------------------------------------


def test_a_missing_import_names_its_command(toy, tmp_path):
    with pytest.raises(DataError) as error:
        PublishedSplit("toy_1of3", fold=1, split_dir=tmp_path)(["t00"])
    text = str(error.value)
    assert "python tools/splits.py import --protocol toy_1of3_f1 --file-labeled toy.txt" in text
    assert "lists/toy.txt of github.com/charlesCXK/TorchSemiSeg" in text and "\n" not in text
    with pytest.raises(DataError, match="import --master city_cps train.txt"):
        PublishedSplit("cps_city_1of8", split_dir=tmp_path)(["t00"])
    with pytest.raises(MissingListError, match="splits.py masters --dataset voc --data-root"):
        MasterLists(tmp_path).get("voc_train")


@pytest.mark.parametrize("with_rest", [False, True])
def test_imported_lists_are_found_by_name(toy, tmp_path, semi_config, with_rest):
    write(tmp_path / toy.name / "labeled.txt", ["t09.png", "x/t03.png", "t00", "t06"])
    if with_rest:
        rest = [f"t{number:02d}" for number in range(12) if number % 3]
        write(tmp_path / toy.name / "unlabeled.txt", rest[::-1])
    config = dict(type="PublishedSplit", name="toy_1of3", fold=1, split_dir=str(tmp_path))
    dataset = DATASETS.build({**copy.deepcopy(semi_config), "split": config})
    assert dataset.labeled_ids == ["t00", "t03", "t06", "t09"]
    assert dataset.unlabeled_ids == [f"t{number:02d}" for number in range(12) if number % 3]
    info = dataset.split_info
    assert info == dict(
        name="toy_1of3_f1",
        labeled=4,
        labeled_sha256=toy.labeled.sha256,
        unlabeled=8,
        unlabeled_sha256=toy.unlabeled.sha256,
    )


def test_changed_imported_lists_are_refused(toy, tmp_path):
    split = PublishedSplit(toy.name, split_dir=tmp_path)
    ids = [f"t{number:02d}" for number in range(12)]
    path = write(tmp_path / toy.name / "labeled.txt", ["t00", "t01", "t06", "t09"])
    with pytest.raises(DataError, match=r"labeled.txt' \(4 .*'toy_1of3_f1'"):
        split(ids)
    write(path, ["t00", "t03", "t06", "t09"])
    with pytest.raises(DataError, match=r"\(7 .*'toy_1of3_f1' \(8 "):
        split(ids[:-1])
    rest = write(tmp_path / toy.name / "unlabeled.txt", ["t01", "t02"])
    with pytest.raises(DataError, match=r"unlabeled.txt' \(2 .*'toy_1of3_f1'"):
        split(ids)
    write(rest, [item for item in ids if int(item[1:]) % 3])
    with pytest.raises(DataError, match="1 .*'toy_1of3_f1'.* 11 .*'t11'"):
        split(ids[:-1])


def test_a_rest_without_known_hash_is_checked_by_its_count(monkeypatch, tmp_path):
    """COCO's unlabelled lists were not at hand."""
    ids = [f"{number:012d}" for number in range(12)]
    protocol = SplitProtocol(
        name="toy",
        dataset="coco",
        labeled=part(ids[:2]),
        unlabeled=Part(10, None, None),
        files=(PublishedFile("unimatch", "lists/toy.txt"),),
    )
    monkeypatch.setitem(PROTOCOLS, "toy", protocol)
    write(tmp_path / "toy" / "labeled.txt", [f"train2017/{i}.jpg masks/{i}.png" for i in ids[:2]])
    split = PublishedSplit("toy", split_dir=tmp_path)
    assert split(ids) == (ids[:2], ids[2:])
    with pytest.raises(DataError, match=r"\(9 .*'toy' \(10 "):
        split(ids[:-1])
    with pytest.raises(DataError, match="'toy' .* 2 images"):
        split([*ids, f"a/{ids[0]}", f"b/{ids[0]}"])


def test_a_split_computed_from_an_imported_master_list(monkeypatch, tmp_path):
    ids = [f"t{number:02d}" for number in range(6)]
    mixed = ["t03", "t00", "t05", "t01", "t04", "t02"]
    master = MasterList(
        name="toy_mixed",
        dataset="toy",
        what="the toys in their authors' order",
        count=6,
        sha256=ids_sha256(mixed),
        order_sha256=ids_sha256(mixed, order=True),
        origin="import",
        file=PublishedFile("cps", "lists/all.txt"),
    )
    base = MasterList("toy", "toy", "toys", 6, ids_sha256(ids), ids_sha256(ids), "data root")
    protocol = SplitProtocol(
        name="toy_1of2",
        dataset="toy",
        labeled=part(mixed[::2]),
        unlabeled=part(mixed[1::2]),
        files=(PublishedFile("cps", "lists/toy.txt"),),
        generator=dict(rule="every_kth", master="toy_mixed", every=2),
    )
    monkeypatch.setitem(MASTERS, "toy_mixed", master)
    monkeypatch.setitem(MASTERS, "toy", base)
    monkeypatch.setitem(PROTOCOLS, "toy_1of2", protocol)
    monkeypatch.setitem(table.BASE_MASTER, "toy", "toy")
    split = PublishedSplit("toy_1of2", split_dir=tmp_path)
    path = write(tmp_path / "masters" / "toy_mixed.txt", mixed)
    assert split(ids) == (["t03", "t04", "t05"], ["t00", "t01", "t02"])
    write(path, ids)
    with pytest.raises(DataError, match="toy_mixed.txt.*the toys in their authors' order"):
        split(ids)


# --- Master lists from a data root ----------------------------------------------------------------


def test_master_lists_come_from_the_data_sets_files(tmp_path, monkeypatch):
    """A devkit of nine images: train 3, val 2, SBD adds 4 and repeats one of each."""
    sets = tmp_path / "VOC2012" / "ImageSets" / "Segmentation"
    write(sets / "train.txt", ["2007_01", "2007_03", "2008_01"])
    write(sets / "val.txt", ["2007_02", "2008_02"])
    sbd = tmp_path / "sbd"
    write(sbd / "train.txt", ["2007_03", "2009_02", "2009_01", "2008_02"])
    write(sbd / "val.txt", ["2008_03", "2008_04"])
    train, val = ["2007_01", "2007_03", "2008_01"], ["2007_02", "2008_02"]
    more = ["2008_03", "2008_04", "2009_01", "2009_02"]
    expected = dict(voc_train=train, voc_val=val, voc_aug=sorted(train + more), sbd_only=more)
    expected["voc_aug_cac"] = train + more
    for name, ids in expected.items():
        small = MasterList(name, "voc", name, len(ids), ids_sha256(ids), part(ids).order_sha256, "")
        monkeypatch.setitem(MASTERS, name, small)
    assert build_masters("voc", tmp_path / "VOC2012", sbd) == expected
    with pytest.raises(DataError, match="trainaug.txt' .*--sbd-root"):
        build_masters("voc", tmp_path / "VOC2012")
    write(sets / "trainaug.txt", ["2009_01", *train, *more[:2], "2009_02"])
    assert build_masters("voc", tmp_path / "VOC2012") == expected
    write(sets / "trainaug.txt", [*train, *more, "2007_02"])
    with pytest.raises(DataError, match="trainaug.txt' .*1 .*'2007_02'"):
        build_masters("voc", tmp_path / "VOC2012")


def test_wrong_data_roots_are_refused(tmp_path):
    with pytest.raises(DataError, match="nowhere'"):
        build_masters("voc", tmp_path / "nowhere")
    with pytest.raises(DataError, match="ImageSets/Segmentation/train.txt'"):
        build_masters("voc", tmp_path)
    with pytest.raises(DataError, match="leftImg8bit/train'"):
        build_masters("cityscapes", tmp_path)
    image = tmp_path / "leftImg8bit/train/aachen/aachen_000000_000019_leftImg8bit.png"
    image.parent.mkdir(parents=True)
    image.touch()
    with pytest.raises(DataError, match="2975 .* 1 .*aachen: 1 .* 174; bochum: 0 "):
        build_masters("cityscapes", tmp_path)
    with pytest.raises(ConfigError, match="'coco'"):
        build_masters("coco", tmp_path)
