# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Exports are whole or absent, and a wrong request ends in one line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from mmsemi.cli.export import main
from mmsemi.errors import CheckpointError, ConfigError, InstallationError
from mmsemi.export import export_segmentor
from mmsemi.utils.literals import read_literal_config

REPOSITORY = Path(__file__).resolve().parents[2]
OWN_HEAD = dict(type="DeepLabV3PlusHead", in_channels=[4, 8], in_index=[0, 1], c1_channels=4)


# --- Files ----------------------------------------------------------------------------------------


def test_nothing_is_overwritten_without_force(make_run, tmp_path):
    path, _ = make_run()
    out = tmp_path / "out"
    export_segmentor(path, out, net=0)
    (out / "net.onnx").write_text("of another export")
    with pytest.raises(ConfigError, match=r"config\.py, .*weights\.pth.* --force"):
        export_segmentor(path, out, net=1)
    assert torch.load(out / "weights.pth")["meta"]["net"] == "0"
    result = export_segmentor(path, out, net=1, force=True)
    assert torch.load(out / "weights.pth")["meta"]["net"] == "1"
    assert "net.onnx of the earlier export is removed" in result.notes[0]
    names = sorted(entry.name for entry in out.iterdir())
    assert names == ["config.py", "requirements.txt", "weights.pth"]


def test_an_interrupted_export_leaves_the_earlier_one(make_run, tmp_path, monkeypatch):
    path, _ = make_run()
    out = tmp_path / "out"
    export_segmentor(path, out, net=0)
    before = {entry: entry.read_bytes() for entry in out.iterdir()}

    def full(*args):
        raise OSError("no space left on device")

    monkeypatch.setattr("mmsemi.export.torch.save", full)
    with pytest.raises(OSError, match="no space"):
        export_segmentor(path, out, net=1, force=True)
    assert {entry: entry.read_bytes() for entry in out.iterdir()} == before


# --- Errors ---------------------------------------------------------------------------------------


def edit(path: Path, change) -> None:
    checkpoint = torch.load(path, weights_only=True)
    change(checkpoint)
    torch.save(checkpoint, path)


def test_wrong_requests_say_what_is_there(make_run, tmp_path):
    path, _ = make_run(predict_on="ensemble")
    with pytest.raises(ConfigError, match=r"predict_on='ensemble'.*--net \(0, 1\)"):
        export_segmentor(path, tmp_path / "out")
    with pytest.raises(ConfigError, match="'teacher'.* 0, 1"):
        export_segmentor(path, tmp_path / "out", net="teacher")
    with pytest.raises(CheckpointError, match=r"iter_70\.pth.*iter_7\.pth"):
        export_segmentor(tmp_path / "iter_70.pth", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_other_checkpoints_are_refused(make_run, tmp_path):
    path, _ = make_run()
    export_segmentor(path, tmp_path / "out")
    with pytest.raises(
        CheckpointError, match=r"weights\.pth .* from the checkpoint of the training"
    ):
        export_segmentor(tmp_path / "out/weights.pth", tmp_path / "again")
    with pytest.raises(
        CheckpointError, match=r"semi\.py: this is a Python file, and no checkpoint"
    ):
        export_segmentor(tmp_path / "semi.py", tmp_path / "again")
    torch.save(dict(state_dict={"fc.weight": torch.zeros(1)}), path)
    with pytest.raises(CheckpointError, match=r"fc\.weight"):
        export_segmentor(path, tmp_path / "again")
    torch.save([1, 2], path)
    with pytest.raises(CheckpointError, match="'state_dict'"):
        export_segmentor(path, tmp_path / "again")


def test_a_checkpoint_that_does_not_fit_its_config_is_refused(make_run, tmp_path):
    path, _ = make_run()
    edit(path, lambda c: c["state_dict"].pop("branches.0.decode_head.conv_seg.bias"))
    with pytest.raises(CheckpointError, match=r"decode_head\.conv_seg\.bias"):
        export_segmentor(path, tmp_path / "out")
    edit(path, lambda c: c["meta"].pop("cfg"))
    with pytest.raises(CheckpointError, match="--config"):
        export_segmentor(path, tmp_path / "out")
    edit(path, lambda c: c["meta"].update(cfg="model = dict(type='EncoderDecoder')"))
    with pytest.raises(CheckpointError, match=r"model\.segmentor"):
        export_segmentor(path, tmp_path / "out")


class Trap:
    def __reduce__(self):
        return os.system, ("touch trapped",)


def test_code_in_a_checkpoint_is_never_run(make_run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path, _ = make_run()
    edit(path, lambda c: c["meta"].update(cfg="import os\nos.system('touch trapped')"))
    with pytest.raises(ConfigError, match="line 1 "):
        export_segmentor(path, "out")
    checkpoint = torch.load(path, weights_only=True)
    torch.save({**checkpoint, "callback": Trap()}, path)
    with pytest.raises(CheckpointError, match=r"'posix\.system'"):
        export_segmentor(path, "out")
    assert not Path("trapped").exists() and not Path("out").exists()


def test_config_text_is_read_as_mmengine_writes_it():
    config = dict(
        a=dict(b=[1, -2.5, None, True], c=(1,), d="it's", e={"x-y": 1, 0: {2}}), f=float("inf")
    )
    assert read_literal_config(Config(config).pretty_text, "x") == config
    for text in ("a = f()", "a = b", "a = dict(**b)", "a = [i for i in b]", "a.b = 1", "a = -'x'"):
        with pytest.raises(ConfigError, match="x is not"):
            read_literal_config(text, "x")


@pytest.mark.parametrize("missing", ["onnx", "onnxruntime"])
def test_missing_onnx_packages_are_named(make_run, tmp_path, monkeypatch, missing):
    monkeypatch.setattr(
        "mmsemi.export.runtimes.find_spec", lambda name: None if name == missing else 1
    )
    with pytest.raises(InstallationError, match=f"--onnx .* {missing}"):
        export_segmentor(make_run()[0], tmp_path / "out", onnx=True)


@pytest.mark.slow
def test_the_tool_reports_in_single_lines(make_run, tmp_path):
    path, _ = make_run(head=OWN_HEAD)
    tool = [sys.executable, str(REPOSITORY / "tools/export_segmentor.py")]

    def run(*arguments: object) -> subprocess.CompletedProcess:
        done = subprocess.run(
            [*tool, *map(str, arguments)],
            cwd=tmp_path,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=240,
        )
        # The OneDL forks print a line of their own when they are imported.
        own = [
            line for line in done.stdout.splitlines(True) if "Could not import OneDL" not in line
        ]
        done.stdout = "".join(own)
        return done

    done = run(path, "out", "--net", "1")
    assert done.returncode == 0, done.stderr
    assert "network '1'" in done.stdout and "(it has: 0, 1)" in done.stdout
    assert "imports mmsemi, the network has DeepLabV3PlusHead" in done.stdout.splitlines()[1]
    done = run(path, "out")
    assert (done.returncode, done.stdout) == (2, "")
    last = done.stderr.splitlines()[-1]
    assert last.startswith("export_segmentor.py: error: ") and "out/config.py" in last
    assert "Traceback" not in done.stderr
    with pytest.raises(ConfigError, match="'absent.py'"):
        main([str(path), "out2", "--config", "absent.py"])
    with pytest.raises(ConfigError, match="--onnx"):
        main([str(path), "out2", "--shape", "32", "32"])
