# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""The runs behind the results tables: rows, hashes, what is skipped, resumed and repeated, the tables."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mmsemi.errors import ConfigError, DataError, TrainingError
from mmsemi.models import FixMatch, Supervised, UniMatch
from runs import code, make, results, run, settings, table, training_run
from runs.make import make_run
from runs.rows import PROTOCOLS, Protocol, Row
from runs.run import status
from runs.settings import settings_hash

REPOSITORY = Path(__file__).resolve().parents[1]
CONFIGS = REPOSITORY / "configs"
SHORT = ("train_cfg.max_iters=4", "train_cfg.num_validations=2")
START = Row(
    "start", "supervised, the start", "supervised/shapes_1-8", 3, kind="start", options=SHORT
)
WEAK = replace(START, name="weak", title="weak", start="start", kind="baseline")
STRONG = replace(WEAK, name="strong", title="strong")
ALL = replace(WEAK, name="all", title="all labels", kind="ceiling")
FIXMATCH = Row("fixmatch", "FixMatch", "fixmatch/shapes_1-8", 7, "start", options=SHORT)


@pytest.fixture
def protocol(tmp_path, monkeypatch) -> Protocol:
    """A protocol of its own, with its data, results and work dirs in the test's folder."""
    (tmp_path / "data" / "images" / "train").mkdir(parents=True)
    rows = (START, WEAK, STRONG, ALL, FIXMATCH)
    made = Protocol("made_up", str(tmp_path / "data"), (1, 2), ("bar", "ring"), rows)
    monkeypatch.setitem(PROTOCOLS, "made_up", made)
    monkeypatch.setattr(make, "WORK", tmp_path / "work_dirs")
    monkeypatch.setattr(results, "FOLDER", tmp_path / "results")
    return made


# --- Rows and settings ----------------------------------------------------------------------------


@pytest.mark.parametrize("data", PROTOCOLS)
def test_every_row_is_named_once_and_starts_from_a_start(data):
    protocol = PROTOCOLS[data]
    assert len({row.name for row in protocol.rows}) == len(protocol.rows)
    for row in protocol.rows:
        assert not row.start or protocol.row(row.start).kind == "start"
    for name in {row.table for row in protocol.rows} - {"labels", "batch_norm"}:
        assert any(row.kind == "baseline" for row in protocol.rows if row.table == name)
    script = (REPOSITORY / "runs" / f"{data}.sh").read_text()
    assert f"-m runs.run {data} " in script


@pytest.mark.parametrize("data", PROTOCOLS)
def test_every_row_differs_from_the_others_and_compares_with_its_baseline(data):
    protocol = PROTOCOLS[data]
    missing = [r.config for r in protocol.rows if not (CONFIGS / f"{r.config}.py").is_file()]
    if missing:
        pytest.skip(f"no config {missing[0]} yet")
    assert len({settings_hash(protocol, row) for row in protocol.rows}) == len(protocol.rows)
    for table_name in {row.table for row in protocol.rows}:
        rows = [row for row in protocol.rows if row.table == table_name and row.kind != "start"]
        fair = set()
        for row in rows:
            config = settings.row_config(row)
            assert row.kind in ("method", "norm") or config.model.type == "Supervised"
            loader = config.train_dataloader
            fair.add(json.dumps([
                make_run(protocol, row, 1).length, loader.sampler.num_per_source.labeled,
                loader.dataset.crop_size, config.model.segmentor, config.optim_wrapper.optimizer,
            ], default=str))  # fmt: skip
        assert len(fair) == 1, "the same net, batch, optimiser and number of steps"


def test_the_hash_follows_every_setting_and_no_place(protocol):
    first = settings_hash(protocol, START)
    assert first == settings_hash(protocol, replace(START, name="other", title="other"))
    longer = replace(START, options=("train_cfg.max_iters=5", SHORT[1]))
    assert first != settings_hash(protocol, longer)
    moved = (*SHORT, "train_dataloader.dataset.labeled.data_root=/a/shapes")
    again = (*SHORT, "train_dataloader.dataset.labeled.data_root=/b/c/shapes")
    assert len({settings_hash(protocol, replace(START, options=o)) for o in (moved, again)}) == 1
    seeds = [make_run(protocol, START, seed) for seed in protocol.seeds]
    assert seeds[0].settings == seeds[1].settings and seeds[0].work_dir != seeds[1].work_dir


def test_a_changed_start_changes_what_goes_on_from_it(protocol):
    longer = replace(START, options=("train_cfg.max_iters=5", SHORT[1]))
    other = replace(protocol, rows=(longer, *protocol.rows[1:]))
    assert settings_hash(protocol, WEAK) != settings_hash(other, WEAK)


def test_a_list_of_the_repository_counts_with_its_content(tmp_path, monkeypatch):
    monkeypatch.setattr(settings, "ROOT", tmp_path)
    found = []
    for text in ("a\n", "b\n"):
        (tmp_path / "labels.txt").write_text(text)
        found.append(settings._without_places({"labeled": "labels.txt"}))
    assert found[0] != found[1]


# --- Code -----------------------------------------------------------------------------------------


def test_a_hash_is_that_of_git(tmp_path):
    (tmp_path / "a.py").write_text("")
    assert code.file_hash(tmp_path / "a.py") == "e69de29bb2d1"
    assert code.file_hash(tmp_path / "b.py") is None


def test_the_pages_of_other_methods_do_not_count():
    page = "mmsemi/models/segmentors/{}.py".format
    fixmatch = code.imported_files(FixMatch)
    assert {page("fixmatch"), page("base"), "mmsemi/models/forward.py", "runs/code.py"} <= fixmatch
    assert page("cps") not in fixmatch and "mmsemi/models/segmentors/__init__.py" not in fixmatch
    assert page("fixmatch") not in code.imported_files(Supervised)
    # What a page imports from another page counts with it.
    source = (REPOSITORY / page("unimatch")).read_text()
    assert ("from .fixmatch " in source) == (page("fixmatch") in code.imported_files(UniMatch))


def test_an_init_counts_only_if_it_does_something(tmp_path):
    path = tmp_path / "__init__.py"
    path.write_text('"""Text."""\nfrom .a import b\n__all__ = ["b"]\n')
    assert code.only_imports(path)
    path.write_text("from .a import b\nb.threshold = 1\n")
    assert not code.only_imports(path)
    assert not code.only_imports(REPOSITORY / "mmsemi" / "__init__.py")


def test_a_file_that_changes_under_a_training_is_refused(monkeypatch):
    training = pytest.importorskip("runs.training")
    before = {"early.py": "1", "late.py": "1"}
    monkeypatch.setattr(training, "snapshot", lambda: {"early.py": "2", "late.py": "1"})
    files = training.ran_files(before, {"early.py"}, {"early.py", "late.py"})
    assert files == before, "the early one had been imported before it changed"
    monkeypatch.setattr(training, "snapshot", lambda: {"early.py": "1", "late.py": "2"})
    with pytest.raises(TrainingError, match="late.py"):
        training.ran_files(before, {"early.py"}, {"early.py", "late.py"})


# --- Results --------------------------------------------------------------------------------------


def test_a_result_replaces_that_of_its_row_and_seed(tmp_path):
    line = dict(data="a", kind="run", method="fixmatch", seed=1)
    results.add_result(dict(line, value=1), {"x.py": "1"}, tmp_path)
    results.add_result(dict(line, seed=2, value=2), {"x.py": "1"}, tmp_path)
    results.add_result(dict(line, data="b", value=4), {"x.py": "3"}, tmp_path)
    results.add_result(dict(line, value=3), {"x.py": "2"}, tmp_path)
    found = results.read_results("a", tmp_path)
    assert [record["value"] for record in found.values()] == [3, 2]
    # The code of every line, and no other.
    stored = results.read_code(tmp_path)
    assert stored[found["run", "fixmatch", 1]["code"]] == {"x.py": "2"}
    assert [files["x.py"] for files in stored.values()].count("1") == 1 and len(stored) == 3
    results.add_result(dict(line, seed=2, value=2), {"x.py": "2"}, tmp_path)
    assert len(results.read_code(tmp_path)) == 2
    (tmp_path / "a.jsonl").write_text('{"kind": "run"}\n')
    with pytest.raises(DataError, match="line 1"):
        results.read_results("a", tmp_path)


# --- The runner -----------------------------------------------------------------------------------


@pytest.fixture
def trainings(monkeypatch):
    """Trainings that leave what a process leaves, without one; their score is that of ``scores``."""
    done, scores = [], {}

    def train(one: run.Run) -> None:
        if scores.get(one.row.name) == "fail":
            raise TrainingError(f"{one.name} failed")
        one.prepare()
        done.append((one.row.name, one.seed))
        score = scores.get(one.row.name, 50.0)
        folder = one.work_dir / "20260101_000000" / "vis_data"
        folder.mkdir(parents=True)
        lines = [
            dict(step=2, mIoU=score + 1, batch_norm_gap=3.0, **{"student/mIoU": 1.0}),
            dict(step=40, iter=40, loss=1.0, time=0.5),
            dict(step=4, mIoU=score, **{"student/mIoU": 2.0, "IoU.bar": 10.0, "IoU.ring": 30.0}),
        ]
        (folder / "scalars.json").write_text("".join(json.dumps(line) + "\n" for line in lines))
        state = dict(state_dict=dict(w=torch.full((2,), score)), meta=dict(split=dict(labeled=3)))
        torch.save(state, one.work_dir / "iter_4.pth")
        (one.work_dir / "last_checkpoint").write_text(str(one.work_dir / "iter_4.pth"))
        name = "mmsemi/models/forward.py"
        report = dict(files={name: code.file_hash(REPOSITORY / name)}, memory=100)
        one.report.write_text(json.dumps(report))

    monkeypatch.setattr(run, "train", train)
    train.done, train.scores = done, scores
    return train


def test_a_row_brings_its_start_and_is_not_run_twice(protocol, trainings, capsys):
    assert run.main(["made_up", "fixmatch", "1"]) == 0
    assert trainings.done == [("start", 1), ("fixmatch", 1)]
    assert run.main(["made_up", "fixmatch", "1"]) == 0
    assert len(trainings.done) == 2
    record = results.read_results("made_up")["run", "fixmatch", 1]
    assert record["last"] == {"mIoU": 50.0, "student/mIoU": 2.0} and record["best"]["mIoU"] == 51.0
    first = {"step": 2, "mIoU": 51.0, "student/mIoU": 1.0, "batch_norm_gap": 3.0}
    assert record["curve"][0] == first
    assert record["iou"] == {"IoU.bar": 10.0, "IoU.ring": 30.0}
    assert record["start_weights"] == results.read_results("made_up")["run", "start", 1]["weights"]
    assert record["labels"] == {"labeled": 3} and record["command"] == "runs/made_up.sh fixmatch 1"
    # Without arguments: what is missing, the start of seed 2 among it.
    assert run.main(["made_up"]) == 0
    assert len(trainings.done) == 10 and len(set(trainings.done)) == 10
    capsys.readouterr()
    assert run.main(["made_up", "--list"]) == 0
    assert capsys.readouterr().out.count(": stored\n") == 10


def test_again_compares_and_stores_nothing(protocol, trainings, capsys):
    run.main(["made_up", "fixmatch", "1"])
    before = (results.FOLDER / "made_up.jsonl").read_bytes()
    assert run.main(["made_up", "fixmatch", "1", "--again"]) == 0
    assert "the stored number" in capsys.readouterr().out
    trainings.scores["fixmatch"] = 50.01
    assert run.main(["made_up", "fixmatch", "1", "--again"]) == 1
    assert "NOT" in capsys.readouterr().out
    assert (results.FOLDER / "made_up.jsonl").read_bytes() == before
    assert trainings.done.count(("fixmatch", 1)) == 3 and trainings.done.count(("start", 1)) == 1


def test_a_start_is_made_again_where_its_checkpoint_is_not(protocol, trainings):
    run.main(["made_up", "start", "1"])
    make_run(protocol, START, 1).checkpoint.unlink()
    run.main(["made_up", "weak", "1"])
    assert trainings.done == [("start", 1), ("start", 1), ("weak", 1)]
    assert status(make_run(protocol, WEAK, 1)) == "stored"


def test_a_start_that_is_not_the_stored_one_brings_no_result(protocol, trainings):
    run.main(["made_up", "fixmatch", "1"])
    before = (results.FOLDER / "made_up.jsonl").read_bytes()
    make_run(protocol, START, 1).checkpoint.unlink()
    trainings.scores["start"] = 49.0  # another machine
    assert run.main(["made_up", "weak", "1"]) == 1
    assert ("weak", 1) not in trainings.done
    assert run.main(["made_up", "fixmatch", "1", "--again"]) == 1, "compared, and not the same"
    assert trainings.done.count(("fixmatch", 1)) == 2
    assert (results.FOLDER / "made_up.jsonl").read_bytes() == before


def test_a_failed_run_is_told_and_the_others_go_on(protocol, trainings, capsys):
    trainings.scores["weak"] = "fail"
    assert run.main(["made_up", "--list"]) == 0 and not trainings.done
    assert run.main(["made_up"]) == 1
    assert {name for name, _ in trainings.done} == {"start", "strong", "all", "fixmatch"}
    assert "made_up weak seed 1 failed" in capsys.readouterr().err


def test_other_code_settings_and_starts_are_run_again(protocol, trainings, monkeypatch, tmp_path):
    run.main(["made_up", "fixmatch", "1"])
    one = make_run(protocol, FIXMATCH, 1)
    assert status(one) == "stored"
    longer = replace(FIXMATCH, options=("train_cfg.max_iters=6", SHORT[1]))
    assert status(make_run(protocol, longer, 1)) == "other settings"
    assert status(make_run(protocol, FIXMATCH, 2)) == "missing"
    with monkeypatch.context() as patch:
        patch.setattr(run, "is_unchanged", lambda files: False)
        assert status(one) == "other code"
        run.main(["made_up", "fixmatch", "1", "--keep"])
        assert len(trainings.done) == 2
    start = results.read_results("made_up")["run", "start", 1]
    results.add_result(dict(start, weights="other"), {})
    assert status(one) == "other start"


def test_a_cut_run_is_resumed_by_the_same_code_only(protocol, monkeypatch):
    one = make_run(protocol, START, 1)
    one.prepare()
    assert not one.resumed
    (one.work_dir / "iter_2.pth").write_bytes(b"")
    (one.work_dir / "last_checkpoint").write_text(str(one.work_dir / "iter_2.pth"))
    one.prepare()
    assert one.resumed and one.command[-1] == "--resume"
    monkeypatch.setattr(training_run, "is_unchanged", lambda files: False)
    one.prepare()
    assert not one.resumed and one.checkpoint is None and "--resume" not in one.command


def test_a_resumed_run_has_the_whole_curve(protocol):
    one = make_run(protocol, START, 1)
    for time, steps in (("20260101_000000", (2, 4)), ("20260102_000000", (4, 6))):
        folder = one.work_dir / time / "vis_data"
        folder.mkdir(parents=True)
        lines = [json.dumps(dict(step=step, mIoU=step + float(time[7]))) for step in steps]
        (folder / "scalars.json").write_text("\n".join(lines) + "\n")
    assert [(r["step"], r["mIoU"]) for r in one.records()] == [(2, 3.0), (4, 6.0), (6, 8.0)]


def test_cost_is_a_run_of_its_own(protocol, trainings):
    assert run.main(["made_up", "cost", "fixmatch"]) == 0
    assert trainings.done == [("fixmatch", 1)], "without its start"
    record = results.read_results("made_up")["cost", "fixmatch", 1]
    assert (record["time"], record["memory"]) == (0.5, 100)


def test_what_cannot_be_meant_is_refused(protocol, tmp_path):
    for arguments in (["fixmatsh"], ["fixmatch", "3"], ["fixmatch", "one"], ["cost", "--again"]):
        with pytest.raises(ConfigError):
            run.main(["made_up", *arguments])
    (tmp_path / "data" / "images" / "train").rmdir()
    with pytest.raises(DataError, match="mmsemi prepare"):
        run.main(["made_up"])


@pytest.mark.slow
def test_a_real_run_repeats_to_the_digit(protocol, monkeypatch):
    monkeypatch.chdir(REPOSITORY)
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    short = replace(FIXMATCH, options=(*SHORT, "model.rampup_iters=2"))
    monkeypatch.setitem(PROTOCOLS, "made_up", replace(protocol, rows=(START, short)))
    assert run.main(["made_up", "fixmatch", "1"]) == 0
    assert run.main(["made_up", "fixmatch", "1", "--again"]) == 0
    found = results.read_results("made_up")["run", "fixmatch", 1]
    assert [point["step"] for point in found["curve"]] == [2, 4]
    assert len([name for name in found["iou"] if name.startswith("IoU.")]) == 7
    files = results.read_code()[found["code"]]
    assert {"runs/training.py", "mmsemi/models/segmentors/fixmatch.py"} <= files.keys()


ROUNDS = Row(
    "rounds", "DST-CBC", "dst_cbc/shapes_1-8", 6, "start", command="self_train", options=(
        "self_training.iterations=[2,2]", "self_training.ratios=[0.5,1.0]",
        "train_cfg.num_validations=1",
    ),
)  # fmt: skip


def test_the_rounds_of_a_row_count_together(protocol, tmp_path):
    one = make_run(protocol, replace(ROUNDS, options=ROUNDS.options[:3]), 2)
    assert one.length == 4 and one.arguments[:1] == ["dst_cbc/shapes_1-8"]
    assert "--seed 2 " in " ".join(one.arguments)
    for number, losses in ((1, (3.0, 2.0)), (2, (1.0, 0.5))):
        folder = one.out / f"round_{number}" / "train" / "run"
        (folder / "20260101" / "vis_data").mkdir(parents=True)
        lines = [json.dumps(dict(step=i, iter=i, loss=x)) for i, x in enumerate(losses, 1)]
        lines.append(json.dumps(dict(step=2, mIoU=10.0 * number)))
        (folder / "20260101" / "vis_data" / "scalars.json").write_text("\n".join(lines) + "\n")
        (folder / "iter_2.pth").write_text("")
        (folder / "last_checkpoint").write_text("iter_2.pth")
    losses = {r["step"]: r["loss"] for r in one.records() if "loss" in r}
    assert losses == {1: 3.0, 2: 2.0, 3: 1.0, 4: 0.5}
    assert [r["step"] for r in one.records() if "mIoU" in r] == [2, 4]
    assert one.checkpoint == one.out / "round_2" / "train" / "run" / "iter_2.pth"
    with pytest.raises(ConfigError, match="iterations"):
        make_run(protocol, replace(ROUNDS, options=()), 1)


@pytest.mark.slow
def test_a_row_of_rounds_begins_with_the_start_of_the_others(protocol, tmp_path, monkeypatch):
    path = tmp_path / "short.py"
    path.write_text(f"_base_ = {str(CONFIGS / 'supervised' / 'shapes_1-8.py')!r}\n"
                    "train_cfg = dict(max_iters=4, num_validations=2)\n")  # fmt: skip
    start = replace(START, config=str(path), options=())
    rounds = replace(ROUNDS, options=(*ROUNDS.options, f"self_training.baseline={path}"))
    monkeypatch.setitem(PROTOCOLS, "made_up", replace(protocol, rows=(start, rounds)))
    assert run.main(["made_up", "start", "1"]) == 0
    assert run.main(["made_up", "rounds", "1"]) == 0
    found = results.read_results("made_up")["run", "rounds", 1]
    start = results.read_results("made_up")["run", "start", 1]
    assert found["start_weights"] == start["weights"] != found["weights"]
    assert [point["step"] for point in found["curve"]] == [2, 4] and found["steps"] == 4
    files = results.read_code()[found["code"]]
    assert {"mmsemi/self_training/labeling.py", "mmsemi/models/segmentors/supervised.py"} <= set(
        files
    )


# --- Tables ---------------------------------------------------------------------------------------


def add(row: str, seed: int, last: float, files: dict[str, str], **more) -> None:
    """A made-up result."""
    record = dict(
        data="made_up", kind="run", method=row, seed=seed, start="" if row == "start" else "start",
        settings="now", changed=False, date="2026-01-01", weights=f"{row}{seed}",
        last=dict(mIoU=last), best=dict(mIoU=last + 1), iou={"IoU.bar": 20.0, "IoU.ring": last},
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
    results.add_result(dict(cost, load=0.0, start="", settings="now"), code_files)
    found = cells(table.data_table("made_up", "continued", NOW))
    # 60 - 56 and 64 - 58 over gaps of 10.
    assert found["FixMatch"] == [
        "62.00 ± 2.83", "63.00", "+5.00", "50%", "41.00", "1.25", "7", "1,234", "1, 2",
    ]  # fmt: skip
    assert found["strong"][2:4] == ["", ""] and found["all labels"][2:4] == ["+10.00", "100%"]


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


def test_rows_without_results_are_there(protocol):
    found = cells(table.data_table("made_up", "continued", NOW))
    assert found["FixMatch"][-1] == "none yet" and len(found) == 2 + len(protocol.rows)


# --- What rows label ------------------------------------------------------------------------------


def test_quality_counts_kept_pixels_by_class(monkeypatch):
    look = pytest.importorskip("runs.look")
    mask = np.array([[0, 0, 1, 1], [0, 1, 1, 255]])
    labels = np.array([[0, 1, 1, 1], [0, 0, 1, 1]])
    sure = np.array([[0.95, 0.99, 0.99, 0.5], [0.96, 0.99, 0.2, 0.99]])
    monkeypatch.setattr(look, "label", lambda model, image: (labels, sure))
    model = SimpleNamespace(dataset_meta=dict(classes=("a", "b")))
    # Kept and no void: five of seven; of them right: two of class 0, one of class 1.
    assert look.quality(model, [(None, mask)], 0.95) == ["71.4", "60.00", "66.7 50.0", "66.7 25.0"]
