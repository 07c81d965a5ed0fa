# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""``mmsemi COMMAND`` and the scripts in tools/: what is run, and how it ends."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

from mmsemi import cli
from mmsemi.errors import CheckpointError, ConfigError, DataError
from mmsemi.version import __version__

REPOSITORY = Path(__file__).resolve().parents[2]
SCRIPTS = sorted(REPOSITORY.glob("tools/**/*.py"))
HERE = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}


def start(*arguments: object, cwd: Path) -> subprocess.CompletedProcess:
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, env=HERE, capture_output=True, text=True, timeout=240)


# --- Which command --------------------------------------------------------------------------------


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_what_the_program_says_of_itself_needs_no_torch(tmp_path, option):
    # A module of that name in the working folder, which -m looks into first.
    (tmp_path / "torch.py").write_text("raise SystemExit('torch was imported')\n")
    done = start("-m", "mmsemi", option, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    words = cli.COMMANDS if option == "--help" else [__version__]
    assert all(word in done.stdout for word in words)


def test_an_unknown_command_names_those_that_resemble_it(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["mmsemi", "trian"])
    with pytest.raises(SystemExit, match="2"):
        cli.main()
    error = capsys.readouterr().err
    assert "'trian'" in error and "'train'" in error and error.count("\n") == 1


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_every_command_has_its_help(monkeypatch, capsys, command):
    monkeypatch.setattr(sys, "argv", ["mmsemi", command, "--help"])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: mmsemi {command} ")


@pytest.mark.parametrize(
    "command, folder",
    [("prepare", "dataset_converters"), ("convert-checkpoint", "checkpoint_converters")],
)
def test_every_converter_has_its_help(monkeypatch, capsys, command, folder):
    converters = import_module(f"mmsemi.cli.{command.replace('-', '_')}").CONVERTERS
    scripts = REPOSITORY / "tools" / folder
    assert sorted(converters) == sorted(path.stem for path in scripts.glob("*.py"))
    for name in converters:
        monkeypatch.setattr(sys, "argv", ["mmsemi", command, name, "--help"])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        assert stop.value.code == 0
        assert capsys.readouterr().out.startswith(f"usage: mmsemi {command} {name} ")


def test_scripts_differ_in_what_they_run_alone():
    bodies = {
        path.relative_to(REPOSITORY): path.read_text().split("import sys\n")[1].splitlines()
        for path in SCRIPTS
        if not path.stem.startswith("benchmark")
    }
    first = next(iter(bodies.values()))
    for path, body in bodies.items():
        differing = [line for line, other in zip(body, first, strict=True) if line != other]
        assert all("run_tool(" in line or "parents[" in line for line in differing), path


def test_a_script_runs_its_command_from_any_folder(tmp_path):
    done = start(REPOSITORY / "tools" / "splits.py", "list", "--dataset", "coco", cwd=tmp_path)
    assert done.returncode == 0 and "unimatch_coco_1of512" in done.stdout, done.stderr


# --- How it ends ----------------------------------------------------------------------------------


@pytest.fixture
def ends(monkeypatch):
    """Runs a command that ends with an exception."""
    monkeypatch.setattr(sys, "argv", ["pytest"])
    monkeypatch.delenv("MMSEMI_TRACEBACK", raising=False)

    def run(error: Exception) -> int:
        def main(arguments: list[str]) -> None:
            raise error

        module = ModuleType("some_command")
        module.main = main
        monkeypatch.setitem(sys.modules, "some_command", module)
        return cli.run("some_command", [], "name.py")

    return run


@pytest.mark.parametrize("kind", [ConfigError, DataError, CheckpointError])
def test_a_mistake_is_one_line_and_code_2(ends, capsys, kind):
    assert ends(kind("a.png is 7 px")) == 2
    assert capsys.readouterr().err == "name.py: error: a.png is 7 px\n"


def test_a_file_that_the_system_refuses_is_one_line(ends, capsys):
    assert ends(PermissionError(13, "Permission denied", "a.txt")) == 2
    error = capsys.readouterr().err
    assert "a.txt" in error and error.count("\n") == 1


@pytest.mark.parametrize("error", [ValueError("x"), OSError("no file at all"), ImportError("y")])
def test_any_other_exception_keeps_its_traceback(ends, error):
    with pytest.raises(type(error), match=str(error)):
        ends(error)


def test_the_traceback_of_a_mistake_is_there_for_who_asks(ends, monkeypatch):
    monkeypatch.setenv("MMSEMI_TRACEBACK", "1")
    with pytest.raises(DataError, match=r"a\.png"):
        ends(DataError("a.png"))


@pytest.mark.parametrize("code", [0, 1])
def test_one_of_several_processes_ends_without_the_teardown(tmp_path, code):
    """Python's exit functions run; objects with threads of their own are not destroyed."""
    program = f"""
import atexit, torch.distributed as dist
from mmsemi import cli
class Destroyed:
    def __del__(self):
        print("destroyed")
kept = Destroyed()
atexit.register(print, "at exit")
dist.init_process_group("gloo", init_method="file://{tmp_path}/store", rank=0, world_size=1)
cli._exit_process({code})
"""
    done = start("-c", program, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (code, "at exit\n"), done.stderr


def test_a_single_process_ends_as_usual():
    with pytest.raises(SystemExit, match="2"):
        cli._exit_process(2)
