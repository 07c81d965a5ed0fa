# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""``mmsemi self-train``: who labels for whom, what a restart does, which checkpoint is kept."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from mmengine.config import Config
from PIL import Image

from mmsemi.errors import ConfigError, TrainingError
from mmsemi.self_training import stages as stages_module
from mmsemi.self_training.plan import Plan
from mmsemi.self_training.report import plot_rounds, rounds_table
from mmsemi.self_training.rounds import SelfTraining
from mmsemi.self_training.stages import Stages
from mmsemi.self_training.state import State
from mmsemi.utils.config_files import read_config

ROOT = Path(__file__).resolve().parents[2]


class Processes:
    """Stands for the processes: trainings and labellings leave what they would leave.

    Attributes:
        log: (what, folder, weights that it started from) in their order.
        scores: mIoU of each training, by its number.
        together: How many trainings each call was given.
        fails: Number of the call that is cut off.
    """

    def __init__(self, scores=()):
        self.log, self.scores, self.fails, self.together = [], list(scores), None, []

    def _count(self) -> None:
        if self.fails is not None and len(self.log) == self.fails:
            raise KeyboardInterrupt

    def train(self, trainings, jobs, threads):
        assert jobs == len(trainings)
        self.together.append(jobs)
        for training in reversed(trainings):  # the last one ends first
            self._train(training)
            yield training

    def _train(self, training):
        self._count()
        config = Config.fromfile(training.config)
        stage = training.work_dir.parent.parent.name
        sources = config.train_dataloader.dataset.get("sources") or {}
        pseudo = sources.get("pseudo") or {}
        parts = pseudo.get("datasets") or [pseudo] if pseudo else []
        labels = [Path(one["data_prefix"]["seg_map_path"]) for one in parts]
        start = config.get("load_from")
        self.log.append(("train", stage, start and Path(start).parents[2].name))
        run = training.work_dir
        (run / "20260101_000000" / "vis_data").mkdir(parents=True, exist_ok=True)
        number = sum(what == "train" for what, *_ in self.log) - 1
        score = self.scores[number] if number < len(self.scores) else 50.0 + number
        line = json.dumps(dict(mIoU=score, step=10))
        (run / "20260101_000000" / "vis_data" / "scalars.json").write_text(line + "\n")
        made_of = [
            start,
            config.randomness.seed,
            *(sorted(p.read_bytes() for p in f.iterdir()) for f in labels),
        ]
        digest = hashlib.sha256(repr(made_of).encode()).hexdigest()
        for name in ("iter_3.pth", "iter_6.pth", "iter_10.pth", "best_mIoU_iter_10.pth"):
            (run / name).write_text(digest + name)
        (run / "last_checkpoint").write_text("iter_10.pth")

    def call(self, arguments):
        self._count()
        command, _, *rest = arguments
        return getattr(self, command.replace("-", "_"))(*rest)

    def reliability(self, out, *checkpoints):
        self.log.append(("score", Path(out).parents[1].name, [Path(c).name for c in checkpoints]))
        Path(out).mkdir()
        names = sorted(path.stem for path in self.images)
        lines = [f"{name},{i / 8},{i / 8},1" for i, name in enumerate(names)]
        Path(out, "scores.csv").write_text("\n".join(["id,m_1,r,classes", *lines]) + "\n")
        return 0

    def test(self, checkpoint, _, run):
        stage = Path(run).parents[1].name
        self.log.append(("test", stage, Path(checkpoint).parents[2].name))
        Path(run, "now").mkdir(parents=True)
        Path(run, "now", "now.json").write_text(json.dumps(dict(mIoU=41.5)))
        return 0

    def pseudo_label(self, teacher, out, _, images):
        out, images, teacher = Path(out), Path(images), Path(teacher)
        self.log.append(("label", out.parents[1].name, teacher.parents[2].name))
        for folder in ("labels", "confidence"):
            (out / folder).mkdir(parents=True, exist_ok=True)
        for name in images.read_text().split():
            value = int(hashlib.sha256(teacher.read_bytes()).hexdigest()[:2], 16) % 3
            Image.new("L", (4, 4), value).save(out / f"labels/{name}.png")
        classes = [dict(name="left", share=0.5), dict(name="right", share=None)]
        report = dict(admitted=0.4, classes=classes, unreadable=[])
        (out / "thresholds.json").write_text(json.dumps(report))
        return 0


@pytest.fixture
def make(tmp_path, semi_config, val_config, monkeypatch):
    """Builds a self-training of stand-in stages from the section ``self_training``."""
    shared = dict(
        train_dataloader=dict(sampler=dict(num_per_source=dict(labeled=2)), dataset=semi_config),
        val_dataloader=dict(dataset=val_config),
        val_evaluator=dict(type="IoUMetric"),
        test_dataloader=dict(dataset=val_config),
        test_evaluator=dict(type="IoUMetric"),
        default_hooks=dict(checkpoint=dict(type="AtomicCheckpointHook")),
        train_cfg=dict(max_iters=10),
    )
    baseline = tmp_path / "supervised.py"
    Config(dict(shared, model=dict(type="Supervised"))).dump(baseline)
    config_file = tmp_path / "student.py"

    def build(stages, options=None, baseline_options=None, jobs=1, **section):
        section = dict(dict(baseline=str(baseline), ratios=(0.5, 1.0)), **section)
        student = dict(shared, model=dict(type="SelfTraining"), self_training=section)
        Config(student).dump(config_file)
        monkeypatch.setattr(stages_module, "run_trainings", stages.train)
        monkeypatch.setattr(
            Stages, "_call", lambda self, arguments, log=None: stages.call(arguments)
        )
        options = options or {}
        return SelfTraining(
            read_config(str(config_file), options),
            tmp_path / "out",
            7,
            options,
            baseline_options or {},
            jobs=jobs,
        )

    return build


def test_a_model_labels_for_its_next_round(make, tmp_path):
    stages = Processes()
    rows = make(stages).run()
    assert stages.log == [
        ("train", "baseline", None),
        ("label", "round_1", "baseline"),
        ("train", "round_1", "baseline"),
        ("label", "round_2", "round_1"),
        ("train", "round_2", "round_1"),
    ]
    assert [row["score"] for row in rows] == [50.0, 51.0, 52.0]
    assert {row["chosen_by"] for row in rows} == {"the last iteration, no validation"}
    seeds = [
        Config.fromfile(tmp_path / f"out/{name}/train/config.py").randomness.seed
        for name in ("baseline", "round_1", "round_2")
    ]
    assert seeds == [7, 1007, 2007]
    ratios = [
        Config.fromfile(tmp_path / f"out/round_{n}/labels/config.py").self_training.labels.ratio
        for n in (1, 2)
    ]
    assert ratios == [0.5, 1.0]
    table = rounds_table(rows, "mIoU").splitlines()
    last = [cell.strip() for cell in table[4].strip("| ").split("|")]
    assert last[:3] == ["round_2", "52.00", "40.0"]
    by_class = [cell.strip() for cell in table[-2].strip("| ").split("|")]
    assert by_class == ["left", "50.0", "50.0"]
    assert plot_rounds(rows, "mIoU").startswith(b"\x89PNG")


def test_nothing_is_done_twice_and_changed_inputs_are(make, tmp_path):
    stages = Processes()
    first = make(stages).run()
    again = Processes()
    assert make(again).run() == first and again.log == []
    for name in ("iter_10.pth", "best_mIoU_iter_10.pth"):
        (tmp_path / "out/round_1/train/run" / name).unlink()
    repeated = Processes([51.0])
    assert [row["checkpoint"] for row in make(repeated).run()] == [r["checkpoint"] for r in first]
    assert repeated.log == [("train", "round_1", "baseline")], "the same checkpoint as before"
    other = Processes()
    make(other, {"train_cfg.max_iters": 20}).run()
    names = [(what, stage) for what, stage, _ in other.log]
    assert ("train", "baseline") not in names and ("label", "round_1") not in names
    assert names == [("train", "round_1"), ("train", "round_2")] or names[0] == ("train", "round_1")


@pytest.mark.parametrize(
    "number", [0, 3, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 2, 4))]
)
def test_a_call_that_is_cut_off_goes_on(make, tmp_path, number):
    stages = Processes()
    stages.fails = number
    with pytest.raises(KeyboardInterrupt):
        make(stages).run()
    done = list(stages.log)
    stages.fails = None
    make(stages).run()
    assert len(stages.log) == 5 and stages.log[:number] == done


def test_two_models_label_for_each_other(make):
    stages = Processes()
    second = dict(options={"model.weight": dict(type="MutualWeight", gamma1=1, gamma2=1)})
    make(stages, mode="mutual", second=second).run()
    assert stages.log[:2] == [("train", "baseline_a", None), ("train", "baseline_b", None)]
    assert stages.log[2:6] == [
        ("label", "round_1_a", "baseline_a"),
        ("label", "round_1_b", "baseline_b"),
        ("train", "round_1_a", "baseline_a"),
        ("train", "round_1_b", "baseline_b"),
    ]
    # Labels of round 2 come from round 1, of either model, although the first one has been trained since.
    assert stages.log[6:8] == [
        ("label", "round_2_a", "round_1_a"),
        ("label", "round_2_b", "round_1_b"),
    ]


def test_two_models_train_side_by_side(make, tmp_path):
    """The same stages and rows in the same order, and what has ended is not done again when the other fails."""
    stages, options = Processes((50, 60, 51, 61, 52, 62)), dict(mode="mutual", second={})
    stages.fails = 1  # a baseline has ended, the other one has not
    with pytest.raises(KeyboardInterrupt):
        make(stages, jobs=2, **options).run()
    stages.fails = None
    rows = make(stages, jobs=2, **options).run()
    assert stages.log[:2] == [("train", "baseline_b", None), ("train", "baseline_a", None)]
    assert stages.log[4:6] == [
        ("train", "round_1_b", "baseline_b"),
        ("train", "round_1_a", "baseline_a"),
    ]
    assert [row["stage"] for row in rows[:4]] == [
        "baseline_a",
        "baseline_b",
        "round_1_a",
        "round_1_b",
    ]
    assert stages.together == [2, 1, 2, 2] and len(stages.log) == 2 + 2 * 4
    before = {row["stage"]: row["checkpoint"] for row in rows}
    again = Processes()
    assert {r["stage"]: r["checkpoint"] for r in make(again, **options).run()} == before
    assert again.log == [], "as many at a time do not change what is made"


def test_jobs_are_for_two_models(make):
    with pytest.raises(ConfigError, match="--jobs"):
        make(Processes(), jobs=2)


def test_the_other_model_s_labels(make, tmp_path):
    make(Processes(), mode="mutual", second={}).run()
    configs = [Config.fromfile(tmp_path / f"out/round_1_{name}/train/config.py") for name in "ab"]
    folders = [c.train_dataloader.dataset.sources.pseudo.data_prefix.seg_map_path for c in configs]
    assert ["round_1_b" in folders[0], "round_1_a" in folders[1]] == [True, True]


@pytest.mark.parametrize(
    "scores, carry, starts, kept",
    [
        ((50, 48, 49), True, ["baseline", "baseline"], "baseline"),
        ((50, 48, 49), False, ["baseline", "round_1"], "round_2"),
        ((50, 52, 51), True, ["baseline", "round_1"], "round_1"),
    ],
)
def test_the_best_one_can_be_carried(make, capsys, scores, carry, starts, kept):
    stages = Processes(scores)
    rows = make(stages, select="best", carry_best=carry).run()
    assert [start for what, _, start in stages.log if what == "train"][1:] == starts
    assert Path(rows[-1]["checkpoint"]).parents[2].name == kept
    assert Path(rows[-1]["checkpoint"]).name.startswith("best_mIoU")
    assert "worse" in capsys.readouterr().out and "images/val" in rows[0]["chosen_by"]


def test_reliable_images_come_first(make, tmp_path):
    stages = Processes()
    rounds = make(
        stages,
        start="pretrained",
        ratios=(1.0, 1.0),
        images=dict(shares=(0.5, 1.0), checkpoints=3),
        labels=dict(assign="all"),
    )
    names = rounds.ids
    stages.images = [Path(name) for name in names]
    rounds.run()
    assert stages.log == [
        ("train", "baseline", None),
        ("score", "reliability", ["iter_3.pth", "iter_6.pth", "iter_10.pth"]),
        ("label", "round_1", "baseline"),
        ("train", "round_1", None),
        ("label", "round_2", "round_1"),
        ("train", "round_2", None),
    ]
    halves = [(tmp_path / f"out/round_{n}/labels/images.txt").read_text().split() for n in (1, 2)]
    assert sorted(halves[0]) == sorted(names[4:]) and sorted(halves[1]) == sorted(names[:4])
    config = Config.fromfile(tmp_path / "out/round_2/train/config.py")
    parts = config.train_dataloader.dataset.sources.pseudo.datasets
    assert ["round_1" in parts[0].data_prefix.seg_map_path, len(parts)] == [True, 2]
    assert Config.fromfile(
        tmp_path / "out/baseline/train/config.py"
    ).default_hooks.checkpoint.keep == [3, 6, 10]


def test_a_named_list_chooses_and_the_test_set_reports(make, tmp_path):
    """DST-CBC's valtiny: the images that chose a checkpoint do not measure it."""
    (tmp_path / "valtiny.txt").write_text("a\n")
    stages = Processes((50, 52, 51))
    section = dict(select="best", select_on=str(tmp_path / "valtiny.txt"), carry_best=True)
    rows = make(stages, **section).run()
    for stage in ("baseline", "round_1"):
        config = Config.fromfile(tmp_path / f"out/{stage}/train/config.py")
        assert config.val_dataloader.dataset.ann_file == str(tmp_path / "valtiny.txt")
    assert stages.log[-1] == ("test", "test", "round_1")
    assert [row["score"] for row in rows] == [50, 52, 51, 41.5]
    assert all("valtiny.txt" in row["chosen_by"] for row in rows)
    test = Config.fromfile(tmp_path / "out/test/test/config.py").test_dataloader.dataset
    assert "valtiny" not in str(test.get("ann_file"))
    (tmp_path / "valtiny.txt").write_text("b\n")
    again = Processes((50, 52, 51))
    make(again, **section).run()
    assert ("train", "baseline", None) in again.log, "another list may choose another checkpoint"


def test_a_given_baseline_is_measured_where_the_best_is_carried(make, tmp_path):
    given = tmp_path / "x/y/given.pth"
    given.parent.mkdir(parents=True)
    given.write_text("weights")
    stages = Processes((41.0, 42.0))
    rows = make(stages, baseline=str(given), select="best", carry_best=True).run()
    assert stages.log[0][:2] == ("test", "baseline")
    assert [row["note"] for row in rows] == ["worse than before (41.50), not kept", ""]


def test_options_for_a_baseline_that_is_not_trained_are_refused(make, tmp_path):
    given = tmp_path / "given.pth"
    given.write_text("weights")
    options = {"train_cfg.max_iters": 5}
    with pytest.raises(ConfigError, match="--baseline-options"):
        make(Processes(), baseline=str(given), baseline_options=options)
    make(Processes(), baseline_options=options).run()
    assert Config.fromfile(tmp_path / "out/baseline/train/config.py").train_cfg.max_iters == 5


def test_rounds_of_their_own_length(make, tmp_path):
    make(Processes(), iterations=(6, 12)).run()
    configs = [Config.fromfile(tmp_path / f"out/round_{n}/train/config.py") for n in (1, 2)]
    assert [config.train_cfg.max_iters for config in configs] == [6, 12]


def test_the_second_network_has_a_baseline_of_its_own(make, tmp_path):
    second = {"model.data_preprocessor.mean": [1, 2, 3], "model.weight": None}
    make(Processes(), mode="mutual", second=dict(options=second)).run()
    for stage in ("baseline_b", "round_1_b"):
        model = Config.fromfile(tmp_path / f"out/{stage}/train/config.py").model
        assert model.data_preprocessor.mean == [1, 2, 3]
        assert ("weight" in model) == (stage != "baseline_b")
    first = Config.fromfile(tmp_path / "out/baseline_a/train/config.py")
    assert "data_preprocessor" not in first.model


def test_a_failed_stage_is_said(make):
    stages = Processes()
    rounds = make(stages)
    stages.call = lambda arguments: 3
    with pytest.raises(TrainingError, match="exit code 3"):
        rounds.run()


@pytest.mark.parametrize(
    "section",
    [
        dict(mode="both"),
        dict(baseline=None),
        dict(mode="mutual"),
        dict(second={}),
        dict(carry_best=True),
        dict(ratios=()),
        dict(iterations=(5,)),
        dict(select_on="list.txt"),
        dict(select="best", select_on="missing.txt"),
        dict(labels=dict(resize=(5,))),
        dict(images=dict(shares=(0.5,))),
        dict(images=dict(shares=(1.0, 0.5))),
        dict(labels=dict(assing="all")),
        dict(ratio=0.5),
    ],
)
def test_refusals(make, section):
    with pytest.raises(ConfigError):
        make(Processes(), **section)


def test_a_config_without_the_section():
    with pytest.raises(ConfigError, match="self_training"):
        Plan.read(read_config("supervised/shapes_1-8"))


def test_a_stage_with_other_inputs_starts_anew(tmp_path):
    state = State(tmp_path)

    def work(folder: Path) -> dict:
        (folder / "net.pth").write_text("weights")
        return dict(checkpoint=str(folder / "net.pth"), old=(folder / "rest").exists())

    outputs = state.run("one", dict(seed=0), work)
    (tmp_path / "one/rest").write_text("of the first")
    assert State(tmp_path).run("one", dict(seed=0), lambda _: 1 / 0) == outputs
    assert not State(tmp_path).run("one", dict(seed=1), work)["old"]
    (tmp_path / "one/rest").write_text("kept")
    (tmp_path / "one/net.pth").write_text("damaged")
    assert State(tmp_path).run("one", dict(seed=1), work)["old"], "the folder of equal inputs stays"
