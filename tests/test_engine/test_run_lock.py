# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""One run at a time in a work dir, and a dead one is in nobody's way."""

from __future__ import annotations

import errno
import json
import os
import signal
import socket
import threading
import time
from contextlib import contextmanager

import pytest
import torch

from mmsemi.engine import run_lock
from mmsemi.engine.run_lock import FILE, RunLock
from mmsemi.errors import ConfigError


@contextmanager
def other_run(folder):
    """A process that holds the folder; yields its id."""
    told, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            with RunLock(folder):
                os.write(tell, b"x")
                time.sleep(60)
        finally:
            os._exit(1)
    assert os.read(told, 1) == b"x"
    try:
        yield pid
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


@pytest.fixture(params=[True, False], ids=["locks", "no_locks"])
def file_system(request, monkeypatch) -> None:
    """One that has locks, and one that has none, as some network file systems."""
    if not request.param:

        def refuse(*_) -> None:
            raise OSError(errno.ENOLCK, "No locks available")

        monkeypatch.setattr(run_lock.fcntl, "lockf", refuse)


def test_a_second_run_is_refused_while_the_first_lives(file_system, tmp_path) -> None:
    with other_run(tmp_path) as pid:
        for _ in range(2):
            with (
                pytest.raises(ConfigError, match=f"{tmp_path}.* {pid} ") as refused,
                RunLock(tmp_path),
            ):
                pass
        assert "\n" not in str(refused.value)
        with RunLock(tmp_path / "another"):
            pass
    # It was killed, and left its name.
    assert json.loads((tmp_path / FILE).read_text())["pid"] == pid
    with RunLock(tmp_path):
        assert json.loads((tmp_path / FILE).read_text())["pid"] == os.getpid()
    assert (tmp_path / FILE).read_text() == ""


def test_a_training_is_refused(toy, tmp_path) -> None:
    with other_run(tmp_path) as pid:
        runner = toy.runner(tmp_path)
        with pytest.raises(ConfigError, match=str(pid)):
            runner.train()
        assert not runner.recorder.losses
    toy.runner(tmp_path, max_iters=2).train()


@pytest.mark.parametrize("lives", [True, False])
def test_a_run_of_another_machine_shows_by_touching_the_file(tmp_path, monkeypatch, lives) -> None:
    monkeypatch.setattr(run_lock, "_TOUCH", 0.05)
    monkeypatch.setattr(run_lock, "_DEAD", 0.5)
    path = tmp_path / FILE
    path.write_text(json.dumps(dict(host="another", pid=os.getpid())))
    end = threading.Event()

    def touch() -> None:
        while not end.wait(0.02):
            os.utime(path)

    thread = threading.Thread(target=touch)
    if lives:
        thread.start()
    try:
        if lives:
            with pytest.raises(ConfigError, match="another"), RunLock(tmp_path):
                pass
        else:
            with RunLock(tmp_path):
                pass
    finally:
        end.set()
        if lives:
            thread.join()


def test_a_run_touches_the_file(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(run_lock, "_TOUCH", 0.0)
    with RunLock(tmp_path) as lock:
        before = (tmp_path / FILE).stat().st_mtime_ns
        time.sleep(0.02)
        lock.touch()
        assert (tmp_path / FILE).stat().st_mtime_ns > before


@pytest.mark.parametrize("text", ["", "rubbish", "[]", '{"host": 1}', '{"host": "a", "pid": "x"}'])
def test_a_file_that_names_nobody_holds_nothing(tmp_path, text) -> None:
    (tmp_path / FILE).write_text(text)
    with RunLock(tmp_path):
        assert json.loads((tmp_path / FILE).read_text())["host"] == socket.gethostname()


def enter(folder: str) -> str:
    """On every rank: the refusal."""
    try:
        with RunLock(folder):
            torch.distributed.barrier()
        return ""
    except ConfigError as error:
        return str(error)


def test_all_ranks_are_refused(gloo_pool, tmp_path) -> None:
    with other_run(tmp_path) as pid:
        refusals = gloo_pool.run(enter, str(tmp_path))
        assert refusals[0] == refusals[1] and str(pid) in refusals[0]
    assert gloo_pool.run(enter, str(tmp_path)) == ["", ""]
