# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""``mmsemi train`` and ``mmsemi test``: mmseg's scripts, from any directory, with readable errors."""

from __future__ import annotations

import json
import os
import pprint
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import mmseg
import pytest

from mmsemi.cli import stock
from mmsemi.errors import CheckpointError, ConfigError, DataError, InstallationError

REPOSITORY = Path(__file__).resolve().parents[2]


def run_script(name: str, *arguments: object, cwd: Path) -> subprocess.CompletedProcess:
    environment = {key: value for key, value in os.environ.items() if key != "MMSEMI_TRACEBACK"}
    return subprocess.run(
        [sys.executable, str(REPOSITORY / "tools" / f"{name}.py"), *map(str, arguments)],
        cwd=cwd,
        env={**environment, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
    )


def test_missing_checkpoint_names_close_files(tmp_path):
    (tmp_path / "iter_2000.pth").touch()
    stock.check_checkpoint(str(tmp_path / "iter_2000.pth"))
    stock.check_checkpoint("https://example.invalid/x.pth")
    with pytest.raises(CheckpointError, match=r"iter_200\.pth.*iter_2000\.pth"):
        stock.check_checkpoint(str(tmp_path / "iter_200.pth"))


def test_missing_stock_tools_are_named(monkeypatch, tmp_path):
    monkeypatch.setattr(mmseg, "__file__", str(tmp_path / "__init__.py"))
    with pytest.raises(InstallationError, match=r"\.mim/tools/train\.py"):
        stock.load_stock_tool("train")


@pytest.mark.parametrize(
    ("arguments", "kind", "culprit"),
    [
        (["train", "cps/shapes_1-9"], ConfigError, "'cps/shapes_1-9'"),
        (["train", "cps/shapes_1-8", "--cfg-options", "seed"], ConfigError, "seed"),
        (["train", "cps/shapes_1-8", "--cfg-options", "trian_cfg.x=1"], ConfigError, "trian_cfg"),
        (["test", "cps/shapes_1-8", "none.pth"], CheckpointError, "'none.pth'"),
    ],
)
def test_wrong_arguments_are_refused_before_anything_starts(
    monkeypatch, tmp_path, arguments, kind, culprit
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", arguments)
    with pytest.raises(kind, match=culprit):
        stock.run_stock_tool(arguments[0])
    assert not list(tmp_path.iterdir())


def fake_script(error: Exception, **args: object) -> Namespace:
    """A stock script whose training ends with an error."""

    def main() -> None:
        script.parse_args()
        raise error

    args = Namespace(**{"cfg_options": None, "work_dir": None, **args})
    script = Namespace(parse_args=lambda: args, main=main)
    return script


@pytest.mark.parametrize(
    ("error", "is_kept"), [(DataError("the list is empty"), True), (ValueError("a bug"), False)]
)
def test_the_traceback_of_a_mistake_is_in_the_work_dir(tmp_path, monkeypatch, error, is_kept):
    config = tmp_path / "x.py"
    config.write_text(f"work_dir = {str(tmp_path)!r}\n")
    script = fake_script(error, config=str(config))
    monkeypatch.setattr(stock, "load_stock_tool", lambda name: script)
    with pytest.raises(type(error), match=str(error)):
        stock.run_stock_tool("train")
    path = tmp_path / "traceback.txt"
    assert path.is_file() == is_kept
    assert not is_kept or "in main" in path.read_text()


# --- The real scripts -----------------------------------------------------------------------------


def test_a_mistake_is_one_line_and_code_2(tmp_path):
    result = run_script("train", "configs/cps/shapes_1-9.py", cwd=tmp_path)
    assert result.returncode == 2
    (line,) = result.stderr.splitlines()
    assert line.startswith("train.py: error: ") and "shapes_1-9.py" in line


@pytest.mark.slow
def test_a_mistake_that_a_worker_meets_is_one_line_too(tmp_path):
    """A damaged image of the built-in data set, read by a loader process."""
    options = ("--cfg-options", "train_cfg.max_iters=2", "train_dataloader.num_workers=1")
    assert run_script("make_shapes", "--num-val", 2, cwd=tmp_path).returncode == 0
    for path in (tmp_path / "data" / "shapes" / "JPEGImages").glob("*.jpg"):
        path.write_bytes(path.read_bytes()[:99])
    result = run_script("train", "supervised/shapes_1-8", *options, cwd=tmp_path)
    assert result.returncode == 2, result.stderr[-3000:]
    last = result.stderr.splitlines()[-1]
    assert last.startswith("train.py: error: ") and ".jpg" in last
    assert "Traceback" not in result.stderr


@pytest.mark.slow
def test_stock_training_and_test_run_from_another_directory(tmp_path, val_config, segmentor_config):
    segmentor_config["decode_head"]["loss_decode"] = dict(type="CrossEntropyLoss")
    segmentor_config["data_preprocessor"] = dict(
        type="SegDataPreProcessor", size=(32, 32), mean=[0.0] * 3, std=[255.0] * 3, pad_val=0
    )
    train = [
        dict(type="LoadImageFromFile"),
        dict(type="LoadAnnotations"),
        dict(type="Resize", scale=(32, 32)),
        dict(type="PackSegInputs"),
    ]
    loader = dict(batch_size=2, num_workers=0, sampler=dict(type="InfiniteSampler", shuffle=True))
    test_loader = dict(
        batch_size=1,
        num_workers=0,
        sampler=dict(type="DefaultSampler", shuffle=False),
        dataset=val_config,
    )
    config = dict(
        default_scope="mmseg",
        custom_imports=dict(imports=["mmsemi"], allow_failed_imports=False),
        model=segmentor_config,
        train_dataloader={**loader, "dataset": {**val_config, "pipeline": train}},
        test_dataloader=test_loader,
        test_evaluator=dict(type="IoUMetric", iou_metrics=["mIoU"]),
        optim_wrapper=dict(type="OptimWrapper", optimizer=dict(type="SGD", lr=0.01)),
        train_cfg=dict(type="IterBasedTrainLoop", max_iters=2),
        test_cfg=dict(type="TestLoop"),
        default_hooks=dict(checkpoint=dict(type="CheckpointHook", by_epoch=False, interval=2)),
    )
    path = tmp_path / "tiny.py"
    path.write_text("\n".join(f"{key} = {pprint.pformat(value)}" for key, value in config.items()))
    result = run_script("train", path, "--work-dir", tmp_path / "run", cwd=tmp_path)
    assert result.returncode == 0, result.stderr[-2000:]
    resumed = run_script(
        "train", path, "--work-dir", tmp_path / "run", "--resume",
        "--cfg-options", "train_cfg.max_iters=4", cwd=tmp_path,
    )  # fmt: skip
    assert resumed.returncode == 0 and "resumed epoch: 0, iter: 2" in resumed.stdout
    checkpoint = tmp_path / "run" / "iter_4.pth"
    result = run_script("test", path, checkpoint, "--work-dir", tmp_path / "eval", cwd=tmp_path)
    assert result.returncode == 0, result.stderr[-2000:]
    (report,) = (tmp_path / "eval").glob("*/*.json")
    assert 0 <= json.loads(report.read_text())["mIoU"] <= 100
