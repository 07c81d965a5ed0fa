# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""The runs behind the results tables: rows, hashes, what is skipped, resumed and repeated."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch
from made_up_rows import FIXMATCH, SHORT, START, WEAK, make_protocol
from mmseg.registry import MODELS

from mmsemi.errors import ConfigError, DataError, TrainingError
from mmsemi.models import FixMatch, Supervised, UniMatch
from runs import code, results, run, settings, training_run
from runs.make import make_run
from runs.rows import PROTOCOLS, Protocol
from runs.run import status
from runs.settings import settings_hash

REPOSITORY = Path(__file__).resolve().parents[1]
CONFIGS = REPOSITORY / "configs"


@pytest.fixture
def protocol(tmp_path, monkeypatch) -> Protocol:
    return make_protocol(tmp_path, monkeypatch)


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


def test_the_best_methods_have_all_seeds(protocol):
    camvid = PROTOCOLS["camvid"]
    seeds = {row.name: camvid.seeds_of(row) for row in camvid.rows}
    assert {len(seeds[name]) for name in ("supervised", "weak", "all", *camvid.best)} == {3}
    assert {seeds[name] for name in ("labels_12", "u2pl", "imagenet_fixmatch")} == {(1,)}
    planned = [(one.row.name, one.seed) for one in run.plan(run.parse_args(["camvid", "u2pl"]))]
    assert planned == [("u2pl", 1)]
    asked = run.plan(run.parse_args(["camvid", "u2pl", "3"]))
    assert [one.seed for one in asked] == [3], "what is asked for by name is run"
    assert protocol.seeds_of(FIXMATCH) == protocol.seeds, "without a choice all have all"


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


def test_what_processes_of_other_commands_import_counts():
    training = pytest.importorskip("runs.training")
    found = code.countable_files([FixMatch], training.STAGES)
    module = "mmsemi/{}.py".format
    used = {"cli/pseudo_label", "self_training/labeling", "models/segmentors/fixmatch", "compat"}
    late = {"utils/processes"}  # which cli/__init__.py imports in a function
    assert {module(name) for name in used | late} <= found
    unused = {"cli/demo", "own_data/kinds", "models/segmentors/cps", "models/segmentors/__init__"}
    assert not {module(name) for name in unused} & found
    # Nothing that this process has imported on the way to a training is missing.
    assert not {name for name in code.imported_files(FixMatch) if "/models/" in name} - found


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
    machine = dict(cpu=results.this_cpu())
    line = dict(data="a", kind="run", method="fixmatch", seed=1, machine=machine)
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
    # Another kind of CPU replaces nothing.
    results.add_result(dict(line, value=5, machine=dict(cpu="other")), {"x.py": "2"}, tmp_path)
    every = results.read_all_results("a", tmp_path)
    assert list(every) == [machine["cpu"], "other"]
    assert [lines["run", "fixmatch", 1]["value"] for lines in every.values()] == [3, 5]
    assert results.read_results("a", tmp_path) == every[machine["cpu"]]
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


def test_a_second_network_starts_from_another_seed(protocol, trainings, monkeypatch):
    pair = replace(FIXMATCH, name="pair", config="cps/shapes_1-8", has_second=True)
    assert settings_hash(protocol, pair) != settings_hash(protocol, replace(pair, has_second=False))
    both = replace(protocol, rows=(*protocol.rows, pair), seeds=(1, 3))
    monkeypatch.setitem(PROTOCOLS, "made_up", both)
    assert run.main(["made_up", "pair", "1"]) == 0
    assert trainings.done == [("start", 1), ("start", 2), ("pair", 1)]
    stored = results.read_results("made_up")
    record = stored["run", "pair", 1]
    assert record["start_weights"] == stored["run", "start", 1]["weights"]
    assert record["second_start_weights"] == stored["run", "start", 2]["weights"]
    assert not results.has_other_start(record, stored)
    stored["run", "start", 2]["weights"] = "others"
    assert results.has_other_start(record, stored)
    # The third begins with the third and the first.
    assert run.main(["made_up", "pair", "3"]) == 0
    assert trainings.done[3:] == [("start", 3), ("pair", 3)]


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


def test_another_cpu_has_runs_of_its_own(protocol, trainings, monkeypatch):
    run.main(["made_up", "fixmatch", "1"])
    before = results.read_all_results("made_up")
    for module in (run, results, training_run):
        monkeypatch.setattr(module, "this_cpu", lambda: "other")
    trainings.scores.update(start=49.0, fixmatch=51.0)
    one = make_run(protocol, FIXMATCH, 1)
    assert status(one) == "other CPU" and status(make_run(protocol, WEAK, 1)) == "missing"
    assert run.main(["made_up", "fixmatch", "1"]) == 0 and len(trainings.done) == 2
    # With its own start, since that of the first is not there.
    shutil.rmtree(one.work_dir.parent)
    assert run.main(["made_up", "fixmatch", "1", "--here"]) == 0
    assert trainings.done[2:] == [("start", 1), ("fixmatch", 1)] and status(one) == "stored"
    after = results.read_all_results("made_up")
    assert after.pop("other")["run", "fixmatch", 1]["last"]["mIoU"] == 51.0
    assert after == before, "the first are as they were"


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


@pytest.mark.parametrize("is_same", [True, False])
def test_a_seed_with_the_same_weights_stands_for_the_others(
    protocol, trainings, monkeypatch, is_same
):
    run.main(["made_up", "fixmatch"])
    ones = [make_run(protocol, FIXMATCH, seed) for seed in protocol.seeds]
    # The code was another one then.
    name = "mmsemi/models/forward.py"
    for record in list(results.read_results("made_up").values()):
        results.add_result(record, {name: "earlier"})
    assert [status(one) for one in ones] == ["other code", "other code"]
    if not is_same:
        trainings.scores["fixmatch"] = 50.01
    assert run.main(["made_up", "fixmatch", "1"]) == 0
    second = "stored" if is_same else "other code"
    assert [status(one) for one in ones] == ["stored", second]
    stored = results.read_results("made_up")
    older = stored["run", "fixmatch", 2]["code"]
    assert stored["run", "fixmatch", 1].get("same_as") == ([older] if is_same else None)
    assert trainings.done.count(("start", 1)) == 1, "a start of the stored weights is there"
    # Of another row it says nothing.
    assert results.code_of({**stored["run", "fixmatch", 2], "method": "weak"}, stored) == older


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
    for began, steps in (("20260101_000000", (2, 4)), ("20260102_000000", (4, 6))):
        folder = one.work_dir / began / "vis_data"
        folder.mkdir(parents=True)
        lines = [json.dumps(dict(step=step, mIoU=step + float(began[7]))) for step in steps]
        (folder / "scalars.json").write_text("\n".join(lines) + "\n")
    assert [(r["step"], r["mIoU"]) for r in one.records()] == [(2, 3.0), (4, 6.0), (6, 8.0)]


def test_cost_is_a_run_of_its_own(protocol, trainings):
    assert run.main(["made_up", "cost", "fixmatch"]) == 0
    assert trainings.done == [("fixmatch", 1)], "without its start"
    record = results.read_results("made_up")["cost", "fixmatch", 1]
    assert (record["time"], record["memory"]) == (0.5, 100)


def test_a_cost_with_something_beside_it_is_measured_again(protocol, trainings, monkeypatch):
    one = make_run(protocol, FIXMATCH, 1, "cost")
    for load, expected in ((1.0, "busy"), (0.0, "stored")):
        monkeypatch.setattr(training_run.OtherLoad, "measure", lambda self, load=load: load)
        assert run.main(["made_up", "cost", "fixmatch"]) == 0
        assert status(one) == expected
    assert run.main(["made_up", "cost", "fixmatch"]) == 0 and len(trainings.done) == 2


def test_a_kind_of_cpu_has_a_family_and_a_model(monkeypatch):
    fields = {"cpu family": ["25", "25"], "model": ["17", "17"]}
    monkeypatch.setattr(results, "cpu_names", lambda: ["AMD EPYC"] * 2)
    monkeypatch.setattr(results, "cpu_fields", lambda name: fields[name])
    assert results.this_cpu() == "AMD EPYC 25/17"
    fields["model"] = ["1", "1"]
    assert results.this_cpu() == "AMD EPYC", "the same weights as an older one"
    monkeypatch.setattr(results, "cpu_fields", lambda name: [])
    monkeypatch.setattr(results, "cpu_names", lambda: ["arm"])
    assert results.this_cpu() == "arm"


def test_a_short_run_has_every_part_of_a_method():
    """A cost of CAC before its contrast begins would be that of the supervised network."""
    late = {
        field.name
        for model in set(MODELS.module_dict.values())
        if model.__module__.startswith("mmsemi.models.segmentors") and hasattr(model, "Settings")
        for field in fields(model.Settings)
        if ("start" in field.name or "warmup" in field.name) and field.type != "bool"
    }
    assert late == set(settings.FIRST_ITERATIONS)
    rows = {row.name: row for row in PROTOCOLS["nuclei"].rows}
    assert settings.from_the_first_step(rows["cac"]) == ("model.start_iter=0",)
    assert settings.from_the_first_step(rows["fixmatch"]) == ()
    cost = make_run(PROTOCOLS["nuclei"], rows["advsemiseg"], 1, "cost")
    assert "model.unsup_start=0" in cost.options


def test_load_is_that_of_others(monkeypatch):
    spin = "import time; end = time.time() + 60\nwhile time.time() < end: pass"
    others = training_run.OtherLoad()
    with subprocess.Popen([sys.executable, "-c", spin]) as process:
        time.sleep(1.0)
        assert others.measure() > 0.1
        process.kill()
    # What this process or a child of its own took, once it has ended, is not counted.
    seconds = iter([(100.0, 20.0), (116.0, 32.0)])
    monkeypatch.setattr(training_run, "cpu_seconds", lambda: next(seconds))
    clock = iter([50.0, 58.0])
    monkeypatch.setattr(training_run.time, "monotonic", lambda: next(clock))
    assert training_run.OtherLoad().measure() == 0.5


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
