# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""The results tables: gains, shares, differences, what is marked, what rows label."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from made_up_rows import ALL, FIXMATCH, START, STRONG, WEAK, make_protocol

from runs import results, settings, table
from runs.code import code_hash
from runs.rows import Protocol


@pytest.fixture
def protocol(tmp_path, monkeypatch) -> Protocol:
    return make_protocol(tmp_path, monkeypatch)


USUAL = dict(cpu="usual")


def add(row: str, seed: int, last: float, files: dict[str, str], **more) -> None:
    """A made-up result."""
    record = dict(
        data="made_up", kind="run", method=row, seed=seed, start="" if row == "start" else "start",
        settings="now", machine=USUAL, changed=False, date="2026-01-01", weights=f"{row}{seed}",
        last=dict(mIoU=last), best=dict(mIoU=last + 1), iou={"IoU.bar": 20.0, "IoU.ring": last, "IoU.disk": 30.0, "student/IoU.disk": 99.0},
        curve=[dict(step=2, batch_norm_gap=9.0), dict(step=4)],
    )  # fmt: skip
    if row != "start":
        record["start_weights"] = f"start{seed}"
    results.add_result({**record, **more}, files)


def cells(text: str) -> dict[str, list[str]]:
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()]
    return {row[0]: row[1:] for row in rows}


NOW = {row.name: "now" for row in (START, WEAK, STRONG, ALL, FIXMATCH)}


def test_gain_and_share_count_against_the_better_baseline(protocol):
    code_files = {"mmsemi/a.py": "1"}
    values = dict(start=(50, 52), weak=(55, 56), strong=(56, 58), all=(66, 68), fixmatch=(60, 64))
    for name, pair in values.items():
        for seed, value in enumerate(pair, 1):
            add(name, seed, float(value), code_files)
    cost = dict(data="made_up", kind="cost", method="fixmatch", seed=1, time=1.25, memory=1234)
    cost.update(machine=USUAL)
    results.add_result(dict(cost, load=0.0, start="", settings="now"), code_files)
    found = cells(table.data_table("made_up", "continued", NOW))
    # 60 - 56 and 64 - 58 over gaps of 10.
    assert found["FixMatch"] == [
        "62.00 ± 2.83", "63.00", "+5.00", "50%", "41.00", "30.00", "1.25", "7", "1,234", "1, 2",
    ]  # fmt: skip
    assert found["strong"][2:4] == ["", ""] and found["all labels"][2:4] == ["+10.00", "100%"]


def test_a_gain_is_over_the_baselines_of_the_same_cpu(protocol):
    other, usual = dict(machine=dict(cpu="other")), {"mmsemi/a.py": "1"}
    for name, value in dict(start=50, weak=51, strong=50, all=60, fixmatch=53).items():
        for seed in (1, 2):
            add(name, seed, float(value), usual)
    for name, value in dict(start=40, weak=39, strong=42, all=52).items():
        add(name, 1, float(value), usual, **other)
    text = table.data_table("made_up", "continued", NOW)
    assert "(other)" not in text, "no row is of that kind"
    # One more seed than the usual kind has of it.
    another = replace(FIXMATCH, name="another", title="another")
    two = replace(protocol, rows=(*protocol.rows, another))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(table.PROTOCOLS, "made_up", two)
        add("another", 1, 47.0, usual, **other)
        found = cells(table.data_table("made_up", "continued", dict(NOW, another="now")))
        records, runs = table.todays_runs(two, results.read_all_results("made_up"), another)
    assert found["another (other)"][2:4] == ["+5.00", "50%"]
    assert found["FixMatch (usual)"][2:4] == ["+2.00", "22%"]
    assert found["strong (other)"][0] == "42.00"
    assert {cell for cell in found if "(other)" in cell} == {
        "another (other)", "supervised, the start (other)", "weak (other)", "strong (other)",
        "all labels (other)",
    }  # fmt: skip
    assert runs[1]["last"]["mIoU"] == 47.0 and records["run", "strong", 1]["last"]["mIoU"] == 42.0


def test_costs_are_of_one_cpu(protocol):
    for name in ("start", "weak", "fixmatch"):
        add(name, 1, 50.0, {})
    cost = dict(data="made_up", kind="cost", seed=1, memory=1, load=0.0, start="", settings="now")
    for name, cpu, seconds in (
        ("fixmatch", "usual", 1.0),
        ("fixmatch", "other", 2.0),
        ("start", "other", 3.0),
    ):
        results.add_result(dict(cost, method=name, machine=dict(cpu=cpu), time=seconds), {})
    text = table.data_table("made_up", "continued", NOW)
    assert "| s / iteration (other) |" in text and " 2.00 |" in text and " 3.00 |" in text


def test_the_gap_between_the_modes_is_that_of_the_last_validation(protocol):
    for seed in (1, 2):
        add("start", seed, 50.0, {})
    add("weak", 1, 50.0, {}, curve=[dict(batch_norm_gap=9.0), dict(batch_norm_gap=12.0)])
    add("weak", 2, 50.0, {}, curve=[dict(batch_norm_gap=1.0), dict(batch_norm_gap=-1.0)])
    add("strong", 1, 50.0, {})
    text = table.data_table("made_up", "continued", NOW)
    column = [cell.strip() for cell in text.splitlines()[0].split("|")].index("train - eval mode")
    found = {line.split("|")[1].strip(): line.split("|")[column] for line in text.splitlines()}
    assert found["weak"] == " +5.5 " and found["strong"] == " "


def test_differences_are_of_the_same_seeds(protocol):
    for seed, value in ((1, 50.0), (2, 90.0)):
        add("weak", seed, value, {})
    add("all", 2, 100.0, {})
    add("fixmatch", 2, 95.0, {})
    found = cells(table.data_table("made_up", "continued", NOW))
    row = next(cells for name, cells in found.items() if name.startswith("FixMatch"))
    assert row[2:4] == ["+5.00", "50%"]


def test_what_a_reader_must_know_is_marked(protocol):
    usual, odd = {"mmsemi/a.py": "1", "mmsemi/b.py": "1"}, {"mmsemi/a.py": "2"}
    add("start", 1, 50.0, usual)
    add("weak", 1, 50.0, usual, settings="earlier")
    add("strong", 1, 50.0, {"mmsemi/c.py": "5", "mmsemi/a.py": "1"})
    add("all", 1, 50.0, usual, start_weights="earlier", changed=True)
    add("fixmatch", 1, 50.0, odd)
    found = set(cells(table.data_table("made_up", "continued", NOW)))
    assert {
        "supervised, the start",
        "weak (other settings)",
        "strong",
        "all labels (other start, code not in a commit)",
        "FixMatch (other code)",
    } <= found


def test_gains_by_class_are_over_the_better_baseline_of_the_same_seeds(protocol, monkeypatch):
    monkeypatch.setattr(settings, "settings_hash", lambda protocol, row: "now")
    # The made-up results have the mIoU as the IoU of "ring", and 20 and 30 for "bar" and "disk".
    values = dict(
        start=(50, 50), weak=(51, 51), strong=(53, 57), all=(60, 60), fixmatch=(54, 60, 99)
    )
    assert table.classes_table("made_up").count("\n") == 2
    for name, of_seeds in values.items():
        for seed, value in enumerate(of_seeds, 1):
            add(name, seed, float(value), {})
    found = cells(table.classes_table("made_up"))
    assert found["method"] == ["bar", "ring", "disk"]
    assert found["FixMatch"] == ["+0.0", "+2.0", "+0.0"], (
        "54 - 53 and 60 - 57; seed 3 has no baseline"
    )
    assert found["all labels"][1] == "+5.0" and not {"weak", "strong"} & found.keys()


def test_what_a_gain_took(protocol, monkeypatch):
    labels = dict(labeled=4, unlabeled=400)
    monkeypatch.setattr(table, "PROTOCOLS", dict(made_up=protocol))
    for name, value in dict(start=50, weak=51, strong=50, all=60, fixmatch=53).items():
        add(name, 1, float(value), {}, steps=300, labels=labels)
    assert table.hours_table().count("\n") == 2, "without a measurement of cost there is no row"
    for name, seconds in dict(start=0.2, fixmatch=1.0).items():
        cost = dict(data="made_up", kind="cost", method=name, seed=1, time=seconds, memory=1)
        cost.update(machine=USUAL)
        results.add_result(dict(cost, load=0.0, start="", settings="now"), {})
    found = cells(table.hours_table())
    assert found["made_up"] == ["4 + 400", "FixMatch", "+2.00", "300 + 300", "6"]


def test_a_release_is_no_other_code(protocol):
    for version, name in enumerate(("start", "weak", "fixmatch", "fixmatch")):
        files = {"mmsemi/a.py": "1", "mmsemi/version.py": str(version)}
        add(name, version, 50.0, files)
    assert not [
        name for name in cells(table.data_table("made_up", "continued", NOW)) if "code" in name
    ]


def test_code_that_gave_the_same_weights_is_no_other_code(protocol):
    usual, older = {"mmsemi/a.py": "1"}, {"mmsemi/a.py": "2"}
    for name in ("start", "weak", "strong", "all"):
        add(name, 1, 50.0, usual)
    add("start", 2, 50.0, usual)
    add("fixmatch", 2, 50.0, older)
    add("fixmatch", 1, 50.0, usual)
    assert "FixMatch (other code)" in cells(table.data_table("made_up", "continued", NOW))
    add("fixmatch", 1, 50.0, usual, same_as=[code_hash(older)])
    assert "FixMatch" in cells(table.data_table("made_up", "continued", NOW))


def test_a_mean_is_of_one_kind_of_settings(protocol):
    for seed in (1, 2):
        add("start", seed, 50.0, {})
        add("fixmatch", seed, 40.0, {}, settings="earlier")
    found = cells(table.data_table("made_up", "continued", NOW))
    assert found["FixMatch (other settings)"][0] == "40.00 ± 0.00"
    add("fixmatch", 2, 60.0, {})
    found = cells(table.data_table("made_up", "continued", NOW))
    assert found["FixMatch"][0] == "60.00" and found["FixMatch"][-1] == "2"


def test_rows_without_results_are_there(protocol):
    found = cells(table.data_table("made_up", "continued", NOW))
    assert found["FixMatch"][-1] == "none yet" and len(found) == 2 + len(protocol.rows)


def test_quality_counts_kept_pixels_by_class(monkeypatch):
    look = pytest.importorskip("runs.look")
    mask = np.array([[0, 0, 1, 1], [0, 1, 1, 255]])
    labels = np.array([[0, 1, 1, 1], [0, 0, 1, 1]])
    sure = np.array([[0.95, 0.99, 0.99, 0.5], [0.96, 0.99, 0.2, 0.99]])
    monkeypatch.setattr(look, "label", lambda model, image: (labels, sure))
    model = SimpleNamespace(dataset_meta=dict(classes=("a", "b")))
    # Kept and no void: five of seven; of them right: two of class 0, one of class 1.
    assert look.quality(model, [(None, mask)], 0.95) == ["71.4", "60.00", "66.7 50.0", "66.7 25.0"]
