# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Importing the authors' files: formats, pickles, repairs, and what a wrong file is told to be."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import random
from pathlib import Path

import numpy as np
import pytest

from mmsemi.datasets.splits import MASTERS, PROTOCOLS, ids_sha256, read_id_list
from mmsemi.datasets.splits import pickles as pickles_module
from mmsemi.datasets.splits import protocols as table
from mmsemi.datasets.splits.folders import verify_split, write_split
from mmsemi.datasets.splits.importing import import_master, import_split
from mmsemi.datasets.splits.masters import MasterLists, check_master
from mmsemi.datasets.splits.pickles import read_permutation
from mmsemi.datasets.splits.protocols import MasterList, Part, PublishedFile, SplitProtocol
from mmsemi.errors import DataError

SHARED = Path(__file__).resolve().parents[4] / "shared" / "reference_splits"
IDS = [f"2007_{number:06d}" for number in range(20)]
LABELED = [IDS[7], IDS[2], IDS[11], IDS[5]]
REST = [item for item in IDS if item not in LABELED]


def part(ids: list[str]) -> Part:
    return Part(len(ids), ids_sha256(ids), ids_sha256(ids, order=True))


def make_protocol(name: str = "toy", **changes) -> SplitProtocol:
    settings = dict(
        name=name,
        dataset="toy",
        labeled=part(LABELED),
        unlabeled=part(REST),
        files=(PublishedFile("cps", "lists/toy.txt"),),
    )
    return SplitProtocol(**{**settings, **changes})


@pytest.fixture
def toy(monkeypatch) -> SplitProtocol:
    master = MasterList("toys", "toy", "toys", 20, ids_sha256(IDS), ids_sha256(IDS), "data root")
    monkeypatch.setitem(MASTERS, "toys", master)
    monkeypatch.setitem(table.BASE_MASTER, "toy", "toys")
    monkeypatch.setitem(PROTOCOLS, "toy", make_protocol())
    return PROTOCOLS["toy"]


@pytest.fixture
def masters() -> MasterLists:
    return MasterLists("/nowhere", {"toys": IDS})


def write(path: Path, lines: list[str], end: str = "\n", final: bool = True) -> Path:
    path.write_bytes((end.join(lines) + end * final).encode())
    return path


# --- Lists ----------------------------------------------------------------------------------------

FORMATS = {
    "ids": "{}",
    "image and mask": "/JPEGImages/{0}.jpg /SegmentationClassAug/{0}.png",
    "tab": "JPEGImages/{0}.jpg\tSegmentationClass/{0}.png",
    "folders": "leftImg8bit/train/x/{0}_leftImg8bit.png",
}


@pytest.mark.parametrize("form", FORMATS.values(), ids=FORMATS)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("final", [True, False])
def test_every_line_format_is_read(toy, masters, tmp_path, form, end, final):
    lists = [
        write(tmp_path / f"{name}.txt", [form.format(i) for i in ids], end, final)
        for name, ids in (("l", LABELED), ("u", REST))
    ]
    found = import_split(toy, *lists, masters)
    assert (found.labeled, found.unlabeled) == (LABELED, REST)
    notes = "\n".join(found.notes)
    assert "labelled: 4 images, the published file" in notes
    assert ("'l.txt' has CRLF" in notes) == (end == "\r\n")
    assert ("'u.txt' has no newline at its end" in notes) == (not final)


def test_a_reordered_list_is_accepted_and_said_so(toy, masters, tmp_path):
    found = import_split(toy, write(tmp_path / "l.txt", sorted(LABELED)), None, masters)
    assert "labelled: 4 images, the published images, but reordered" in found.notes
    assert found.unlabeled == REST


def test_without_master_list_the_rest_is_left_to_the_data_set(toy, tmp_path):
    found = import_split(toy, write(tmp_path / "l.txt", LABELED), None, MasterLists(tmp_path))
    assert found.unlabeled is None and "when the data set is loaded" in found.notes[-1]


def test_the_shared_image_of_a_pair_is_dropped_and_named(masters, tmp_path):
    published = sorted([*REST, LABELED[-1]])
    protocol = make_protocol(published_unlabeled=part(published))
    lists = write(tmp_path / "l.txt", LABELED, final=False), write(tmp_path / "u.txt", published)
    found = import_split(protocol, *lists, masters)
    assert found.unlabeled == REST
    assert any(n.startswith(f"known defect: {LABELED[-1]} is in both") for n in found.notes)
    repaired = import_split(protocol, lists[0], write(tmp_path / "r.txt", REST), masters)
    assert repaired.unlabeled == REST and not any("defect" in note for note in repaired.notes)


def test_an_overlap_on_purpose_stays(masters, tmp_path):
    protocol = make_protocol(labeled=part(IDS), unlabeled=part(IDS), allow_overlap=True)
    file = write(tmp_path / "all.txt", IDS)
    found = import_split(protocol, file, file, masters)
    assert found.labeled == found.unlabeled == IDS
    assert "20 images are in both lists, as the protocol has it" in found.notes


def test_a_wrong_file_is_told_what_it_is(toy, masters, tmp_path, monkeypatch):
    other = make_protocol("other", labeled=part(IDS[:4]), unlabeled=part(IDS[4:]))
    monkeypatch.setitem(PROTOCOLS, "other", other)
    right = write(tmp_path / "l.txt", LABELED)
    for lines, value in (
        (IDS[:4], r"\(4 .* labelled .*'toy' .* labelled list of other"),
        (REST, "'toy' .* unlabelled list of toy"),
        (IDS[:3], r"\(3 .*'toy'"),
        ([*IDS[:3], f"x/{IDS[0]}.jpg"], " 1 images"),
    ):
        with pytest.raises(DataError, match=f"w.txt'.*{value}"):
            import_split(toy, write(tmp_path / "w.txt", lines), None, masters)
    with pytest.raises(DataError, match="w.txt'.* unlabelled .*'toy'"):
        import_split(toy, right, write(tmp_path / "w.txt", IDS[4:]), masters)
    with pytest.raises(DataError, match="nowhere.txt'"):
        import_split(toy, tmp_path / "nowhere.txt", None, masters)
    old = make_protocol(superseded={ids_sha256(IDS[:3]): "the list of before May"})
    with pytest.raises(DataError, match="w.txt'.*the list of before May"):
        import_split(old, write(tmp_path / "w.txt", IDS[:3]), None, masters)


def test_master_lists_are_imported_whole_or_as_a_pair(monkeypatch, tmp_path):
    mixed = IDS[::-1]
    order = ids_sha256(mixed, order=True)
    master = MasterList("mixed", "toy", "mixed toys", 20, ids_sha256(mixed), order, "import")
    monkeypatch.setitem(MASTERS, "mixed", master)
    files = [
        str(write(tmp_path / f"{n}.txt", ids))
        for n, ids in (("all", mixed), ("even", mixed[::2]), ("odd", mixed[1::2]))
    ]
    assert import_master("mixed", files[:1]) == import_master("mixed", files[1:]) == mixed
    with pytest.raises(DataError, match="all.txt' .*even.txt'"):
        import_master("mixed", files[:2])
    with pytest.raises(DataError, match="odd.txt' .*even.txt'"):
        import_master("mixed", files[:0:-1])


# --- Pickles --------------------------------------------------------------------------------------


def dump(path: Path, content: object, protocol: int = 3) -> Path:
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    return path


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickled_permutation_splits_the_master_list(toy, masters, tmp_path, protocol):
    order = [IDS.index(item) for item in [*LABELED, *REST]]
    lists = dump(tmp_path / "list.pkl", order, protocol)
    assert import_split(toy, lists, None, masters).labeled == LABELED
    if protocol in (3, 4):  # other versions spell an array with further names, which are refused
        array = dump(tmp_path / "array.pkl", np.array(order), protocol)
        found = import_split(toy, array, None, masters)
        assert (found.labeled, found.unlabeled) == (LABELED, REST)


class Evil:
    def __reduce__(self):
        return os.system, ("touch evil",)


def test_nothing_that_a_pickle_names_is_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for content, value in (
        (Evil(), "posix.system"),
        ([Evil()], "posix.system"),
        (np.array([Evil()], dtype=object), "'O8'"),
        ({"a": print}, "print"),
    ):
        with pytest.raises(DataError, match=f"evil.pkl'.*{value}"):
            read_permutation(dump(tmp_path / "evil.pkl", content))
    assert not Path("evil").exists()


@pytest.mark.parametrize(
    ("content", "value"),
    [
        (np.array([0.0, 1.0]), "float64"),
        (np.zeros((2, 2), int), ""),
        ("text", ""),
        ([0, 2], r"0\.\.1"),
        ([0, 0], r"0\.\.1"),
    ],
)
def test_other_contents_are_refused(tmp_path, content, value):
    with pytest.raises(DataError, match=f"x.pkl'.*{value}"):
        read_permutation(dump(tmp_path / "x.pkl", content))


def test_damaged_missing_and_unfit_pickles(toy, masters, tmp_path, monkeypatch):
    (tmp_path / "x.pkl").write_bytes(pickle.dumps(list(range(20)))[:-9])
    with pytest.raises(DataError, match="x.pkl'"):
        read_permutation(tmp_path / "x.pkl")
    with pytest.raises(DataError, match="y.pkl'"):
        read_permutation(tmp_path / "y.pkl")
    with pytest.raises(DataError, match="z.pkl' .* 3 .*'toy' .* 20"):
        import_split(toy, dump(tmp_path / "z.pkl", [0, 1, 2]), None, masters)
    refused = {hashlib.sha256(b"2,0,1").hexdigest(): "the order of another disk"}
    monkeypatch.setattr(pickles_module, "REFUSED_PERMUTATIONS", refused)
    with pytest.raises(DataError, match="k.pkl' .*the order of another disk"):
        read_permutation(dump(tmp_path / "k.pkl", [2, 0, 1]))


def test_another_permutation_is_refused(toy, masters, tmp_path):
    order = list(range(20))
    random.Random(0).shuffle(order)
    with pytest.raises(DataError, match="x.pkl' .* labelled .*'toy'"):
        import_split(toy, dump(tmp_path / "x.pkl", order), None, masters)


# --- Folders --------------------------------------------------------------------------------------


def test_written_folders_verify_and_name_their_split(toy, tmp_path):
    write_split(tmp_path / "a", LABELED, REST, dataset="toy", protocol="toy")
    found, wrong = verify_split(tmp_path / "a")
    assert "published split: toy" in found and not wrong
    record = json.loads((tmp_path / "a" / "split.json").read_text())
    assert record["protocol"] == "toy" and record["tool"].startswith("mmsemi ")
    assert record["labeled"] == dict(
        count=4, sha256=toy.labeled.sha256, order_sha256=toy.labeled.order_sha256
    )
    assert (tmp_path / "a" / "labeled.txt").read_bytes().endswith(b"2007_000005\n")
    write_split(tmp_path / "a", LABELED, None, dataset="toy", protocol="toy")
    assert not (tmp_path / "a" / "unlabeled.txt").exists()
    write_split(tmp_path / "b", LABELED, REST[1:])
    assert "the same labelled, other unlabelled images: toy" in verify_split(tmp_path / "b")[0]
    (tmp_path / "c").mkdir()
    with pytest.raises(DataError, match="c/labeled.txt'"):
        verify_split(tmp_path / "c")


def test_cityscapes_lines_are_what_mmseg_reads(tmp_path):
    write_split(tmp_path, ["aachen_000000_000019"], None, dataset="cityscapes")
    assert read_id_list(tmp_path / "labeled.txt") == ["aachen/aachen_000000_000019"]
    assert verify_split(tmp_path)[0][0].endswith(ids_sha256(["aachen_000000_000019"]))


def test_changed_folders_are_found(toy, tmp_path):
    write_split(tmp_path, LABELED, REST, dataset="toy", protocol="toy")
    write(tmp_path / "labeled.txt", [REST[0], *LABELED[1:]])
    wrong = "\n".join(verify_split(tmp_path)[1])
    assert "is not the list that" in wrong and "is not split 'toy'" in wrong
    assert f"1 images are in both lists, the first is '{REST[0]}'" in wrong


# --- The authors' files, where they are at hand ---------------------------------------------------

FOLDERS = {
    "dstcbc": ("data_splits/", "dst_cbc"),
    "cac": ("dataloaders/", "cac"),
    "cps": ("DATA/", "cps"),
    "unimatch": ("splits/", "unimatch"),
    "s4gan": ("splits/", "s4gan"),
}


def local(source: str, file: str | None) -> Path | None:
    if file is None or source not in FOLDERS:
        return None
    prefix, folder = FOLDERS[source]
    path = SHARED / folder / file.removeprefix(prefix)
    return path if path.is_file() else None


def test_every_published_file_at_hand_imports_in_its_order():
    if not SHARED.is_dir():
        pytest.skip(f"the authors' lists are not part of the repository ({SHARED})")
    aug, train = SHARED / "advsemiseg/train_aug.txt", SHARED / "unimatch/pascal/1464/labeled.txt"
    known = dict(
        voc_aug=check_master("voc_aug", read_id_list(aug), "aug"),
        voc_train=check_master("voc_train", read_id_list(train), "train"),
    )
    masters, count, defects = MasterLists("/nowhere", known), 0, []
    for name, protocol in PROTOCOLS.items():
        for file in protocol.files:
            labeled = local(file.source, file.labeled)
            if labeled is None:
                continue
            rest = local(file.source, file.unlabeled)
            notes = import_split(protocol, labeled, rest, masters).notes
            assert not any("reordered" in note for note in notes), name
            defects += [name for note in notes if note.startswith("known defect")]
            count += 1
    assert count >= 97
    assert sorted(defects) == [f"cps_voc_pseudoseg_1of{k}" for k in ("16", "2", "4", "8")]
    for name, master in MASTERS.items():
        file = master.file and local(master.file.source, master.file.labeled)
        if file:
            import_master(name, [str(file)])
    pair = [str(SHARED / f"unimatch/cityscapes/1_2/{n}labeled.txt") for n in ("", "un")]
    import_master("city_cps", pair)
    for wrong in ("city", "pc"):
        with pytest.raises(DataError, match="split_0.pkl"):
            read_permutation(SHARED / "s4gan" / wrong / "split_0.pkl")
    with pytest.raises(DataError, match="cps_voc_pseudoseg_1of2"):
        file = local("cps", PROTOCOLS["cps_voc_pseudoseg_1of2"].files[0].labeled)
        import_split(PROTOCOLS["classic_voc_732"], file, None, masters)
