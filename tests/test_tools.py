# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""tools/train.py and tools/test.py: the stock scripts, from any directory, with readable errors."""

from __future__ import annotations

import json
import os
import pprint
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import pytest
import yaml

from mmsemi import launch

REPOSITORY = Path(__file__).resolve().parents[1]
CONFIG = {
    "randomness": {"seed": 1},
    "optim_wrapper": {"type": "OptimWrapper", "optimizer": {"type": "SGD", "lr": 0.1}},
    "model": {"type": "EncoderDecoder", "semi_train_cfg": {}},
}


def run_tool(name: str, *arguments: object, cwd: Path) -> subprocess.CompletedProcess:
    environment = {key: value for key, value in os.environ.items() if key != "MMSEMI_TRACEBACK"}
    return subprocess.run(
        [sys.executable, str(REPOSITORY / "tools" / f"{name}.py"), *map(str, arguments)],
        cwd=cwd,
        env={**environment, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
    )


# --- Arguments ------------------------------------------------------------------------------------


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A checkout with one config, and another working directory."""
    config = tmp_path / "checkout" / "configs" / "cps" / "shapes_1-8.py"
    config.parent.mkdir(parents=True)
    config.write_text("model = dict(type='CPS')\n")
    monkeypatch.setattr(launch, "PACKAGE", tmp_path / "checkout" / "mmsemi")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    return tmp_path


def test_config_is_found_from_any_directory(project):
    expected = project / "checkout" / "configs" / "cps" / "shapes_1-8.py"
    assert launch.find_config("configs/cps/shapes_1-8.py") == str(expected)
    assert launch.find_config(str(expected)) == str(expected)
    Path("configs/cps").mkdir(parents=True)
    Path("configs/cps/shapes_1-8.py").write_text("")
    assert launch.find_config("configs/cps/shapes_1-8.py") == "configs/cps/shapes_1-8.py"


def test_config_of_a_wheel_is_found(project):
    config = project / "checkout" / "mmsemi" / ".mim" / "configs" / "cps" / "wheel.py"
    config.parent.mkdir(parents=True)
    config.write_text("")
    assert launch.find_config("configs/cps/wheel.py") == str(config)


def test_missing_config_names_close_matches(project):
    with pytest.raises(
        launch.UsageError, match=r"configs/cps/shape_1-8\.py; did you mean 'configs"
    ):
        launch.find_config("configs/cps/shape_1-8.py")
    with pytest.raises(launch.UsageError, match="is a folder"):
        launch.find_config(str(project))


def test_package_config_is_found():
    path = launch.find_config("mmseg::_base_/models/fcn_r50-d8.py")
    assert path.endswith("mmseg/.mim/configs/_base_/models/fcn_r50-d8.py")
    with pytest.raises(launch.UsageError, match=r"did you mean '_base_/models/fcn_r50-d8\.py'"):
        launch.find_config("mmseg::_base_/models/fcn_r50-d9.py")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model = dict(\n", r"broken\.py, line 1 cannot be loaded: SyntaxError"),
        ("_base_ = './absent.py'\n", r"broken\.py cannot be loaded: .*absent\.py"),
        ("x = undefined_name\n", r"broken\.py cannot be loaded: NameError"),
    ],
)
def test_broken_config_is_one_line(tmp_path, text, message):
    path = tmp_path / "broken.py"
    path.write_text(text)
    with pytest.raises(launch.UsageError, match=message):
        launch.load_config(str(path))


def test_missing_checkpoint_names_close_files(tmp_path):
    (tmp_path / "iter_2000.pth").touch()
    launch.check_checkpoint(str(tmp_path / "iter_2000.pth"))
    launch.check_checkpoint("https://example.invalid/x.pth")
    with pytest.raises(launch.UsageError, match=r"no checkpoint .*did you mean .*iter_2000\.pth"):
        launch.check_checkpoint(str(tmp_path / "iter_200.pth"))


def test_option_that_nothing_reads_is_refused():
    with pytest.raises(launch.UsageError, match=r"has no 'optim_wraper'; did you mean 'optim_wr"):
        launch.check_option("optim_wraper.optimizer.lr", CONFIG, "x.py")


def test_legal_options_pass_silently(capsys):
    for key in (
        "optim_wrapper.optimizer.lr",
        "model.backbone.with_cp",
        "work_dir",
        "find_unused_parameters",
        "optim_wrapper.optimizer.lr.deeper",
    ):
        launch.check_option(key, CONFIG, "x.py")
    assert capsys.readouterr().err == ""


def test_new_key_beside_a_similar_one_gets_a_note(capsys):
    launch.check_option("optim_wrapper.optimiser.lr", CONFIG, "x.py")
    assert "new key 'optimiser' to optim_wrapper, which has 'optimizer'" in capsys.readouterr().err


def test_missing_stock_tools_are_named(monkeypatch, tmp_path):
    import mmseg

    monkeypatch.setattr(mmseg, "__file__", str(tmp_path / "__init__.py"))
    with pytest.raises(
        launch.UsageError, match=r"does not carry its tools .*\.mim/tools/train\.py"
    ):
        launch.load_stock_tool("train")


# --- Errors ---------------------------------------------------------------------------------------


@pytest.fixture
def in_package(monkeypatch, tmp_path):
    """Runs source text as a file of the package."""
    monkeypatch.setattr(launch, "PACKAGE", tmp_path)

    def run(source: str) -> BaseException:
        path = tmp_path / "part.py"
        path.write_text(source)
        with pytest.raises(Exception) as caught:
            exec(compile(source, str(path), "exec"), {})
        return caught.value

    return run


def test_deliberate_error_is_recognised(in_package):
    error = in_package("raise ValueError(\n    'list is empty'\n)")
    assert launch.find_deliberate_message(error) == "list is empty"
    assert launch.find_deliberate_message(in_package("raise KeyError('no key')")) == "no key"


def test_bug_keeps_its_traceback(in_package):
    assert launch.find_deliberate_message(in_package("int('a')")) is None
    assert launch.find_deliberate_message(in_package("assert False, 'bug'")) is None
    with pytest.raises(ValueError) as caught:
        raise ValueError("not from the package")
    assert launch.find_deliberate_message(caught.value) is None


def test_deliberate_error_is_found_below_a_wrapper(in_package):
    error = TypeError("class `CPS` in mmsemi: unknown key")  # as mmengine's registry raises it
    error.__context__ = in_package("raise ValueError('unknown key')")
    assert launch.find_deliberate_message(error) == "unknown key"


def test_deliberate_error_of_a_worker_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr(launch, "PACKAGE", tmp_path)
    part = tmp_path / "part.py"
    part.write_text("raise ValueError('x')\nint('a')\n")
    text = (
        "Caught ValueError in DataLoader worker process 0.\nOriginal Traceback (most recent call "
        'last):\n  File "/torch/worker.py", line 3, in loop\n    fetch()\n'
        f'  File "{part}", line %d, in load\n    raise ValueError(\n    ^^^^^^\n'
        "ValueError: a.png: bad"
    )
    assert launch.find_worker_message(text % 1) == "a.png: bad"
    assert launch.find_worker_message(text % 2) is None


def test_tool_prints_the_message_last_and_saves_the_traceback(tmp_path, monkeypatch, capsys):
    config = tmp_path / "configs" / "x.py"
    config.parent.mkdir()
    config.write_text(f"work_dir = {str(tmp_path)!r}\n")
    part = tmp_path / "mmsemi" / "part.py"
    part.parent.mkdir()
    part.write_text("raise ValueError('the list is empty')\n")

    def main() -> None:
        stock.parse_args()
        exec(compile(part.read_text(), str(part), "exec"), {})

    args = Namespace(config=str(config), cfg_options=None, work_dir=None)
    stock = Namespace(parse_args=lambda: args, main=main)
    monkeypatch.setattr(launch, "PACKAGE", part.parent)
    monkeypatch.setattr(launch, "load_stock_tool", lambda name: stock)
    stock_parse_args = stock.parse_args
    assert launch.run_stock_tool("train") == 1
    assert capsys.readouterr().err.splitlines()[-1] == "train.py: error: the list is empty"
    assert "part.py" in (tmp_path / "traceback.txt").read_text()

    monkeypatch.setenv("MMSEMI_TRACEBACK", "1")
    stock.parse_args = stock_parse_args
    with pytest.raises(ValueError, match="the list is empty"):
        launch.run_stock_tool("train")


# --- The real scripts -----------------------------------------------------------------------------


def test_missing_config_exits_with_one_line(tmp_path):
    result = run_tool("train", "configs/cps/shapes_1-9.py", cwd=tmp_path)
    assert result.returncode == 2
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("train.py: error: there is no config configs/cps/shapes_1-9.py")
    assert "shapes_1-8.py" in lines[0]


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
    result = run_tool("train", path, "--work-dir", tmp_path / "run", cwd=tmp_path)
    assert result.returncode == 0, result.stderr[-2000:]
    resumed = run_tool(
        "train", path, "--work-dir", tmp_path / "run", "--resume",
        "--cfg-options", "train_cfg.max_iters=4", cwd=tmp_path,
    )  # fmt: skip
    assert resumed.returncode == 0 and "resumed epoch: 0, iter: 2" in resumed.stdout
    checkpoint = tmp_path / "run" / "iter_4.pth"
    result = run_tool("test", path, checkpoint, "--work-dir", tmp_path / "eval", cwd=tmp_path)
    assert result.returncode == 0, result.stderr[-2000:]
    (report,) = (tmp_path / "eval").glob("*/*.json")
    assert 0 <= json.loads(report.read_text())["mIoU"] <= 100


# --- Packaging ------------------------------------------------------------------------------------


def test_model_index_lists_every_metafile():
    listed = yaml.safe_load((REPOSITORY / "model-index.yml").read_text())["Import"]
    present = [path.relative_to(REPOSITORY) for path in REPOSITORY.glob("configs/*/metafile.yml")]
    assert sorted(listed) == sorted(map(str, present))
