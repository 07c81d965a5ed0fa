# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""``mmsemi train``: what is trained first, what starts from what, and the comparison at the end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner

from mmsemi.cli import train
from mmsemi.cli.train import class_iou_options, comparison_table, verdict
from mmsemi.errors import CheckpointError, ConfigError

REPOSITORY = Path(__file__).resolve().parents[2]
DEFAULT_RUNTIME = REPOSITORY / "configs" / "_base_" / "default_runtime.py"


@pytest.fixture
def write(semi_config, val_config, segmentor_config, preprocessor_config, tmp_path, monkeypatch):
    """Writes a config of two iterations and runs ``mmsemi train`` on it, in this process."""
    monkeypatch.setattr(Runner, "_log_env", lambda *_: None)

    def run(*arguments: str, method: dict | None = None, processes: int = 1, **changes) -> Path:
        config = Config(Config.fromfile(DEFAULT_RUNTIME).to_dict())
        loader = dict(
            batch_size=2,
            num_workers=0,
            persistent_workers=False,
            sampler=dict(type="DefaultSampler", shuffle=False),
            dataset=val_config,
        )
        config.merge_from_dict(
            dict(
                model=dict(
                    segmentor=segmentor_config,
                    data_preprocessor=preprocessor_config,
                    **(method or dict(type="FixMatch", mix=dict(type="CutMix"), threshold=0.3)),
                ),
                train_dataloader=dict(
                    num_workers=0,
                    persistent_workers=False,
                    sampler=dict(
                        type="MultiSourceSampler", num_per_source=dict(labeled=2, unlabeled=2)
                    ),
                    dataset=semi_config,
                ),
                val_dataloader=loader,
                test_dataloader=loader,
                optim_wrapper=dict(optimizer=dict(type="SGD", lr=0.02)),
                train_cfg=dict(max_iters=2, num_validations=1),
                default_hooks=dict(logger=dict(interval=1)),
                log_level="ERROR",
                **changes,
            )
        )
        config.visualizer = dict(
            type="SegLocalVisualizer",
            name=tmp_path.name,
            vis_backends=[dict(type="LocalVisBackend")],
        )
        path = tmp_path / "my.py"
        path.write_text(config.pretty_text)
        work_dir = tmp_path / "run"
        values = [str(path), "--work-dir", str(work_dir), *arguments]
        if processes > 1:
            launch(processes, [*values, "--launcher", "pytorch"])
            return work_dir
        monkeypatch.setattr(sys, "argv", ["mmsemi train", *values])
        train.main(values)
        return work_dir

    return run


def launch(processes: int, arguments: list[str]) -> None:
    command = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
    done = subprocess.run(
        [sys.executable, *command, str(REPOSITORY / "tools" / "train.py"), *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)},
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    assert done.stdout.count("the unlabelled images ") == 1, "the main process speaks"


def weights(path: Path) -> dict[str, torch.Tensor]:
    return torch.load(path, weights_only=True)["state_dict"]


def test_the_supervised_run_comes_first_and_a_baseline_beside(write, capsys):
    work_dir = write("--from", "supervised", "--baseline")
    out = capsys.readouterr().out
    comparison = json.loads((work_dir / "comparison.json").read_text())
    assert comparison["verdict"] in out and "mIoU" in out
    files = f"{work_dir / 'iter_2.pth'} (supervised: {work_dir / 'baseline/iter_2.pth'})"
    assert out.endswith(f"mmsemi train: weights for mmsemi predict and mmsemi export: {files}\n")
    for name, folder in (("supervised", work_dir / "baseline"), ("semi-supervised", work_dir)):
        info = json.loads(next(folder.glob("*/vis_data/run.json")).read_text())
        assert info["command"].endswith(" --from supervised --baseline"), "as it was typed"
        stored = comparison[name]
        assert stored["step"] == 2
        values = list(stored["iou"].values())
        assert stored["mIoU"] == pytest.approx(sum(values) / len(values), abs=0.006)
        scalars = next((folder).glob("*/vis_data/scalars.json")).read_text()
        assert f'"mIoU": {stored["mIoU"]}' in scalars, "each run has its own log"
    configs = {p: Config.fromfile(p) for p in work_dir.rglob("*.py") if "vis_data" not in p.parts}
    by_name = {path.stem: config for path, config in configs.items()}
    start = str(work_dir / "supervised" / "iter_2.pth")
    assert by_name["supervised"].load_from is None
    assert by_name["baseline"].load_from == by_name["my"].load_from == start
    assert by_name["baseline"].model.type == "Supervised"
    assert by_name["my"].default_hooks.diagnosis.baseline == comparison["supervised"]["mIoU"]

    # Again, to go on: runs that have ended are not repeated.
    before = {path: path.stat().st_mtime_ns for path in work_dir.glob("*/iter_2.pth")}
    write("--from", "supervised", "--baseline", "--resume")
    assert {path: path.stat().st_mtime_ns for path in work_dir.glob("*/iter_2.pth")} == before
    # With other settings nothing is silently gone on with.
    with pytest.raises(ConfigError, match="other settings"):
        write("--from", "supervised", "--resume", "--cfg-options", "optim_wrapper.optimizer.lr=0.1")


@pytest.mark.parametrize("method", ["FixMatch", "CPS"])
def test_every_network_starts_from_the_checkpoint(write, method):
    work_dir = write(method=dict(type="Supervised"))
    source = weights(work_dir / "iter_2.pth")
    start = work_dir.parent / "start.pth"
    (work_dir / "iter_2.pth").rename(start)
    # Without a learning rate, so that what is stored is what it started from.
    work_dir = write(
        "--from",
        str(start),
        "--cfg-options",
        "optim_wrapper.optimizer.lr=0.0",
        method=dict(type=method),
    )
    got = weights(work_dir / "iter_2.pth")
    names = [key.removeprefix("student.") for key in source if key.endswith(("weight", "bias"))]
    first, second = {
        "FixMatch": ("student.", "teacher.module."),
        "CPS": ("branches.0.", "branches.1."),
    }[method]
    assert all(torch.equal(got[first + name], source[f"student.{name}"]) for name in names)
    differ = {n for n in names if not torch.equal(got[second + n], source[f"student.{n}"])}
    # Two networks of CPS must differ: the second has new heads.
    assert bool(differ) == (method == "CPS")
    assert all(name.startswith("decode_head.") for name in differ)


STAY = ("--cfg-options", "optim_wrapper.optimizer.lr=0.0")


def assert_holds(checkpoint: dict, prefix: str, source: dict) -> None:
    """That a network has the weights of a supervised checkpoint."""
    names = [key.removeprefix("student.") for key in source if key.endswith(("weight", "bias"))]
    assert names
    assert all(torch.equal(checkpoint[prefix + n], source[f"student.{n}"]) for n in names)


@pytest.mark.slow
def test_cps_starts_from_two_supervised_networks(write):
    """Of two seeds; with a learning rate of 0, what is stored is what it started from."""
    seeds = dict(randomness=dict(seed=3))
    work_dir = write("--from", "supervised", *STAY, method=dict(type="CPS"), **seeds)
    twins = [work_dir / name for name in ("supervised", "supervised_second")]
    configs = [Config.fromfile(twin / f"{twin.name}.py") for twin in twins]
    assert [one.randomness.seed for one in configs] == [3, 4]
    first, second = (weights(twin / "iter_2.pth") for twin in twins)
    assert any(not torch.equal(first[key], second[key]) for key in first)
    got = weights(work_dir / "iter_2.pth")
    assert_holds(got, "branches.0.", first)
    assert_holds(got, "branches.1.", second)

    # The checkpoints of two runs, in the order in which they are given.
    starts = [str(path / "iter_2.pth") for path in reversed(twins)]
    kept = []
    for number, start in enumerate(starts):
        kept.append(str(work_dir.parent / f"{number}.pth"))
        Path(start).rename(kept[-1])
    given = ["--from", kept[0], "--from", kept[1]]
    work_dir = write(*given, *STAY, method=dict(type="CPS"), **seeds)
    got = weights(work_dir / "iter_2.pth")
    assert_holds(got, "branches.0.", second)
    assert_holds(got, "branches.1.", first)

    # A resume goes on with both networks as they are, not with the second one's start.
    (Path(kept[1])).rename(f"{kept[1]}.moved")
    longer = ["--resume", "--cfg-options", f"load_from={kept[0]}", "train_cfg.max_iters=3"]
    second_start = f"model.second_checkpoint={kept[1]}"
    work_dir = write(*longer, second_start, *STAY[1:], method=dict(type="CPS"), **seeds)
    assert_holds(weights(work_dir / "iter_3.pth"), "branches.1.", first)


@pytest.mark.slow
def test_a_second_start_that_nothing_uses_is_refused(write):
    work_dir = write(method=dict(type="Supervised"))
    start = work_dir.parent / "start.pth"
    (work_dir / "iter_2.pth").rename(start)
    cps, twice = dict(type="CPS"), ["--from", str(start), "--from", str(start)]
    with pytest.raises(ConfigError, match="twice"):
        write(*twice)
    with pytest.raises(ConfigError, match="twice"):
        write("--from", "supervised", "--from", str(start), method=cps)
    with pytest.raises(ConfigError, match="same weights"):
        write(*twice, method=cps)
    with pytest.raises(ConfigError, match="second_checkpoint"):
        write("--cfg-options", f"model.second_checkpoint={start}", method=cps)
    with pytest.raises(CheckpointError, match=r"strat\.pth"):
        write("--from", str(start), "--from", str(start.with_name("strat.pth")), method=cps)
    state = torch.load(start, weights_only=True)
    state["state_dict"].popitem()
    torch.save(state, start.with_name("less.pth"))
    with pytest.raises(CheckpointError, match="less"):
        write("--from", str(start), "--from", str(start.with_name("less.pth")), method=cps)


def test_weights_that_do_not_fit_are_refused(write, segmentor_config):
    work_dir = write(method=dict(type="Supervised"))
    start = work_dir.parent / "start.pth"
    (work_dir / "iter_2.pth").rename(start)
    segmentor_config["decode_head"]["channels"] = 12
    with pytest.raises(CheckpointError, match="'student' finds"):
        write("--from", str(start))
    with pytest.raises(CheckpointError, match=r"strat\.pth"):
        write("--from", str(start.with_name("strat.pth")))
    with pytest.raises(ConfigError, match="load_from"):
        write("--from", str(start), "--cfg-options", f"load_from={start}")


def test_a_validation_comes_to_log_the_classes():
    kinds = ["SegmentationLoss", "IoUMetric"]
    plain = Config(dict(val_evaluator=dict(type="mmseg.IoUMetric")))
    assert class_iou_options(plain) == {"val_evaluator.type": "ClassIoUMetric"}
    several = Config(dict(val_evaluator=[dict(type=kind) for kind in kinds]))
    assert class_iou_options(several) == {"val_evaluator.1.type": "ClassIoUMetric"}
    assert not class_iou_options(Config(dict(val_evaluator=dict(type="ClassIoUMetric"))))
    with pytest.raises(ConfigError, match="SegmentationLoss"):
        class_iou_options(Config(dict(val_evaluator=[dict(type=kinds[0])])))


def test_a_misspelt_argument_is_refused_before_anything_is_trained(write):
    with pytest.raises(ConfigError, match=r"--basline is no .* did you mean '--baseline'"):
        write("--from", "supervised", "--basline")


def test_the_verdict():
    supervised = dict(mIoU=60.0, iou=dict(background=90.0, nucleus=30.0))
    semi = dict(mIoU=64.0, iou=dict(background=89.0, nucleus=39.0))
    text = verdict(supervised, semi)
    assert "helped" in text and "+4.00" in text and "1 of 2 classes" in text
    assert "from 'background' (-1.00) to 'nucleus' (+9.00)" in text and "rough" not in text
    assert verdict(supervised, semi, 6).endswith(", by 6 validation images, which is a rough score")
    assert verdict(supervised, semi, 10) == text
    assert "did harm" in verdict(semi, supervised)
    assert "no clear difference" in verdict(semi, dict(semi, mIoU=64.9))
    lines = comparison_table({"supervised": supervised, "FixMatch": semi}).splitlines()
    assert lines[-1].split() == ["mIoU", "60.00", "64.00", "+4.00"]


@pytest.mark.slow
def test_two_processes_train_all_of_them(write):
    work_dir = write("--from", "supervised", "--baseline", processes=2)
    comparison = json.loads((work_dir / "comparison.json").read_text())
    assert comparison["supervised"]["step"] == comparison["semi-supervised"]["step"] == 2
    assert (work_dir / "supervised" / "iter_2.pth").is_file()


@pytest.mark.slow
def test_help_shows_both_kinds_of_arguments():
    code = "from mmsemi.cli import run; run('mmsemi.cli.train', ['--help', '--baseline'], 'mmsemi train')"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=dict(os.environ)
    )
    assert "--work-dir" in result.stdout and "--from supervised" in result.stdout
