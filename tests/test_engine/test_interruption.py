# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""A signal ends a training between two iterations, and it goes on from there bit for bit."""

from __future__ import annotations

import os
import signal
import time

import pytest
import torch
from mmengine.hooks import Hook
from torch.utils.data import DataLoader, Dataset
from torch.utils.data._utils import worker

from mmsemi.engine import interruption
from mmsemi.engine.interruption import Interruption, shield_workers, start_workers
from mmsemi.errors import Interrupted


@pytest.fixture(autouse=True)
def interruptible():
    """A process started in the background ignores Ctrl-C, and a training in it does, too."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


class SignalAt(Hook):
    """Sends this process a signal at a moment of an iteration."""

    def __init__(self, moment: str, iteration: int, number: int = signal.SIGTERM) -> None:
        self.moment, self.iteration, self.number = moment, iteration, number

    def _send(self, moment: str, position: int) -> None:
        if (moment, position) == (self.moment, self.iteration):
            os.kill(os.getpid(), self.number)

    def before_train(self, runner) -> None:
        self._send("start", runner.iter)

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        self._send("training", runner.iter + 1)

    def after_val_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        if batch_idx == 0:
            self._send("validation", runner.iter)


def interrupt(runner) -> Interrupted:
    before = [signal.getsignal(number) for number in interruption.SIGNALS]
    with pytest.raises(Interrupted) as caught:
        runner.train()
    assert [signal.getsignal(number) for number in interruption.SIGNALS] == before
    return caught.value


def names(folder) -> list[str]:
    return sorted(path.name for path in folder.glob("*.pth*"))


@pytest.mark.parametrize(
    ("moment", "iteration", "settings", "stopped", "files"),
    [
        ("training", 3, {}, 3, ["interrupted_iter_3.pth"]),  # no checkpoint yet
        ("training", 7, {}, 7, ["interrupted_iter_7.pth", "iter_5.pth"]),
        ("training", 10, {}, 10, ["iter_10.pth", "iter_5.pth"]),  # has its checkpoint
        ("training", 13, {}, 13, ["interrupted_iter_13.pth", "iter_10.pth", "iter_5.pth"]),
        # Gradients of iteration 7 wait for those of iteration 8.
        ("training", 7, dict(accumulate=2), 8, ["interrupted_iter_8.pth", "iter_5.pth"]),
        ("validation", 8, {}, 8, ["interrupted_iter_8.pth", "iter_5.pth"]),
        ("validation", 20, {}, 20, ["iter_15.pth", "iter_20.pth"]),
        ("training", 7, dict(num_workers=2), 7, ["interrupted_iter_7.pth", "iter_5.pth"]),
    ],
)
def test_an_interrupted_run_goes_on_bit_for_bit(
    toy, tmp_path, moment, iteration, settings, stopped, files
) -> None:
    settings = dict(save_interval=5, val_interval=4, checkpoint=dict(max_keep_ckpts=2), **settings)
    straight = toy.runner(tmp_path / "straight", **settings)
    straight.train()
    folder = tmp_path / "run"
    first = toy.runner(folder, hooks=(SignalAt(moment, iteration),), **settings)
    assert interrupt(first).code == 143
    assert first.iter == stopped and names(folder) == files
    line = first.log.lines[-1]
    assert "SIGTERM" in line and "--resume" in line and files[0 if stopped != 20 else 1] in line
    second = toy.runner(folder, resume=True, **settings)
    second.train()
    assert {**first.recorder.losses, **second.recorder.losses} == straight.recorder.losses
    assert {**first.recorder.metrics, **second.recorder.metrics} == straight.recorder.metrics
    for left, right in zip(straight.model.parameters(), second.model.parameters()):
        assert torch.equal(left, right)
    assert names(folder) == names(tmp_path / "straight") == ["iter_15.pth", "iter_20.pth"]


def test_interrupted_twice_leaves_one_checkpoint(toy, tmp_path) -> None:
    interrupt(toy.runner(tmp_path, hooks=(SignalAt("training", 3, signal.SIGINT),)))
    again = toy.runner(tmp_path, resume=True, hooks=(SignalAt("training", 6, signal.SIGINT),))
    assert interrupt(again).code == 130
    assert min(again.recorder.losses) == 3
    assert names(tmp_path) == ["interrupted_iter_6.pth"]


def test_before_the_first_iteration_there_is_nothing_to_keep(toy, tmp_path) -> None:
    runner = toy.runner(tmp_path, hooks=(SignalAt("start", 0),))
    interrupt(runner)
    assert names(tmp_path) == [] and not runner.recorder.losses
    assert "start again" in runner.log.lines[-1]


def test_the_stock_checkpoint_hook_stores_too(toy, tmp_path) -> None:
    stock = dict(checkpoint=dict(type="CheckpointHook"))
    interrupt(toy.runner(tmp_path, hooks=(SignalAt("training", 3),), **stock))
    assert names(tmp_path) == ["iter_3.pth"]
    resumed = toy.runner(tmp_path, resume=True, max_iters=5, **stock)
    resumed.train()
    assert sorted(resumed.recorder.losses) == [3, 4]


# --- Signals --------------------------------------------------------------------------------------


def in_child(function) -> int:
    """What ended a forked process that runs a function; negative: a signal."""
    pid = os.fork()
    if pid == 0:
        try:
            function()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.mark.parametrize(("seconds", "code"), [(0.0, -signal.SIGTERM), (60.0, 0)])
def test_a_second_signal_ends_the_process_unless_it_is_the_same(monkeypatch, seconds, code) -> None:
    """Launchers pass on what the terminal has sent already."""
    monkeypatch.setattr(interruption, "_SAME_SIGNAL", seconds)

    def signals() -> None:
        with Interruption():
            for _ in range(2):
                os.kill(os.getpid(), signal.SIGTERM)
                time.sleep(0.01)

    assert in_child(signals) == code


def test_an_ignored_signal_stays_ignored() -> None:
    """As in the background of a script."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Interruption() as listening:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.01)
            listening.check()
    finally:
        signal.signal(signal.SIGINT, before)


class Numbers(Dataset):
    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> int:
        return index


def test_workers_are_ended_by_their_main_process_only(monkeypatch) -> None:
    """Terminals and clusters signal every process; a dead worker would end the iteration."""
    begin = worker._worker_loop

    def begin_late(*args) -> None:
        time.sleep(0.2)
        begin(*args)

    monkeypatch.setattr(worker, "_worker_loop", begin_late)
    started = []
    loader = DataLoader(
        Numbers(), num_workers=2, worker_init_fn=started.append, persistent_workers=True
    )
    shield_workers(loader)
    shield_workers(loader)  # of a second training in the process
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    iterator = start_workers(loader)
    workers = iterator._workers  # have not run a line yet

    def signal_workers() -> None:
        for process in workers:
            for number in interruption.SIGNALS:
                os.kill(process.pid, number)

    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == mask
    assert in_child(signal_workers) == 0
    assert len(list(iterator)) == 8 and all(process.is_alive() for process in workers)
    for process in workers:
        process.terminate()
        process.join(10)
        assert process.exitcode == 0


# --- Several processes ----------------------------------------------------------------------------


def train_until_signal(signalled: int) -> int | None:
    """20 iterations of unequal length; one rank gets a signal in iteration 5. Where it stopped."""
    rank = torch.distributed.get_rank()
    with_signal = rank == signalled
    signal.signal(signal.SIGINT, signal.default_int_handler)  # see interruptible
    try:
        with Interruption() as listening:
            for iteration in range(20):
                listening.allowed = iteration % 3 == 0
                listening.check()
                if with_signal and iteration == 5:
                    os.kill(os.getpid(), signal.SIGINT)
                time.sleep(0.002 * rank)
    except Interrupted as end:
        assert end.code == 130
        return iteration


def validate_until_signal(signalled: int) -> tuple[bool, int]:
    """Ranks have different numbers of images. Whether it was cut off, and the images seen."""
    rank, seen = torch.distributed.get_rank(), 0
    try:
        with Interruption() as listening:
            for seen in listening.until_signal(range(1, 6 + rank)):
                if rank == signalled and seen == 2:
                    os.kill(os.getpid(), signal.SIGTERM)
    except Interrupted:
        return True, seen
    return False, seen


def test_ranks_stop_at_the_same_iteration(gloo_pool) -> None:
    for signalled in (0, 1):
        first, second = gloo_pool.run(train_until_signal, signalled)
        assert first == second and first in (6, 9)
    assert gloo_pool.run(train_until_signal, 2) == [None, None]


def test_ranks_agree_behind_a_validation(gloo_pool) -> None:
    assert gloo_pool.run(validate_until_signal, 0) == [(True, 2), (True, 6)]
    assert gloo_pool.run(validate_until_signal, 1) == [(True, 5), (True, 2)]
    assert gloo_pool.run(validate_until_signal, 2) == [(False, 5), (False, 6)]
