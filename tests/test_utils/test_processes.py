# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""No process outlives the launcher that started it; every CPU has a name."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mmsemi.utils.processes import cpu_names

REPOSITORY = Path(__file__).resolve().parents[2]
CODE = """
import os, pathlib, sys, time

from mmsemi.cli import run


class Command:
    @staticmethod
    def main(arguments):
        pathlib.Path(f"rank_{os.environ['RANK']}").write_text(str(os.getpid()))
        time.sleep(300)


sys.modules["waiting"] = Command
run("waiting", [], "waiting")
"""


def is_alive(pid: int) -> bool:
    path = Path(f"/proc/{pid}/stat")
    try:
        return path.read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


@pytest.mark.skipif(
    sys.platform != "linux", reason="processes end with their parent on Linux alone"
)
def test_the_processes_of_a_killed_launcher_end(tmp_path):
    (tmp_path / "command.py").write_text(CODE)
    launcher = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--standalone",
            "--nproc_per_node=2",
            "command.py",
        ],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"},
    )
    files = [tmp_path / f"rank_{rank}" for rank in (0, 1)]
    try:
        end = time.monotonic() + 300
        while not all(path.is_file() and path.read_text() for path in files):
            assert time.monotonic() < end and launcher.poll() is None
            time.sleep(0.1)
    finally:
        launcher.kill()
        launcher.wait()
    pids = [int(path.read_text()) for path in files]
    end = time.monotonic() + 20
    while any(map(is_alive, pids)) and time.monotonic() < end:
        time.sleep(0.1)
    assert not any(map(is_alive, pids))


def test_every_cpu_has_a_name():
    names = cpu_names()
    assert len(names) == os.cpu_count() and all(isinstance(name, str) for name in names)
