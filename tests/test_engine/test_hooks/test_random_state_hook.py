# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
from __future__ import annotations

import multiprocessing
import os
import random
import socket

import numpy as np
import pytest
import torch
import torch.distributed as dist
from mmengine.hooks import Hook

from mmsemi.engine.hooks import RandomStateHook
from mmsemi.engine.hooks.random_state_hook import (
    capture_random_states,
    restore_random_states,
)


def draw() -> tuple[float, ...]:
    return random.gauss(0, 1), np.random.randn(), np.random.rand(), torch.randn(()).item()


class DrawNumbers(Hook):
    def __init__(self) -> None:
        self.numbers: dict[int, tuple] = {}

    def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
        self.numbers[runner.iter] = draw()


def test_round_trip_through_a_file(tmp_path) -> None:
    """Also half-used states: Gaussian numbers come in pairs, of which one is kept for later."""
    for offset in range(2):
        random.seed(1), np.random.seed(2), torch.manual_seed(3)
        for _ in range(offset):
            random.gauss(0, 1), np.random.randn()
        torch.save(capture_random_states(), tmp_path / "states.pth")
        expected = [draw() for _ in range(3)]
        random.seed(7), np.random.seed(7), torch.manual_seed(7)
        # Nothing is allow-listed for it: tensors, numbers, strings and tuples only.
        with torch.serialization.safe_globals([]):
            restore_random_states(torch.load(tmp_path / "states.pth", weights_only=True))
        assert [draw() for _ in range(3)] == expected


def test_a_checkpoint_holds_the_states_of_the_moment(toy, tmp_path) -> None:
    class Look(Hook):
        priority = "LOWEST"

        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
            self.state = torch.get_rng_state()

    runner = toy.runner(tmp_path, max_iters=2, hooks=(look := Look(),))
    runner.train()
    stored = torch.load(tmp_path / "iter_2.pth", weights_only=True)["random_states"]
    assert len(stored["ranks"]) == 1
    assert torch.equal(stored["ranks"][0]["torch"], look.state)
    counts = dict(labeled=2, unlabeled=2)
    assert stored["sampler"] == dict(seed=3, num_per_source=counts)


def test_a_checkpoint_written_in_a_validation_holds_the_states_before_it(toy, tmp_path) -> None:
    """The stock hook writes iter_2.pth again when the validation finds a new best score."""

    class DrawInValidation(Hook):
        def before_val_epoch(self, runner) -> None:
            draw()

    settings = dict(checkpoint=dict(save_best="mIoU", rule="greater"), save_interval=2)
    states = []
    for hooks in ((), (DrawInValidation(),)):
        work_dir = tmp_path / str(len(states))
        toy.runner(work_dir, max_iters=2, val_interval=2, hooks=hooks, **settings).train()
        assert list(work_dir.glob("best_mIoU_iter_2.pth"))
        checkpoint = torch.load(work_dir / "iter_2.pth", weights_only=False)
        assert checkpoint["message_hub"]["runtime_info"]["best_ckpt"]
        states.append(checkpoint["random_states"]["ranks"][0]["torch"])
    assert torch.equal(*states)


def test_works_under_the_stock_loop(toy, tmp_path) -> None:
    settings = dict(
        num_workers=1,
        loop="IterBasedTrainLoop",
        sampler=dict(type="InfiniteSampler"),
        max_iters=6,
        save_interval=3,
    )
    straight = toy.runner(tmp_path, hooks=(RandomStateHook(), first := DrawNumbers()), **settings)
    straight.train()
    resumed = toy.runner(
        tmp_path / "b",
        hooks=(RandomStateHook(), second := DrawNumbers()),
        resume=True,
        load_from=str(tmp_path / "iter_3.pth"),
        **settings,
    )
    resumed.train()
    assert [first.numbers[i] for i in range(3, 6)] == [second.numbers[i] for i in range(3, 6)]
    for runner in (straight, resumed):  # the stock loop leaves its workers to the end of Python
        runner.train_loop.dataloader_iterator = runner.train_dataloader._iterator = None


def test_a_checkpoint_without_states_is_resumed_with_a_warning(toy, tmp_path) -> None:
    """And with other random numbers than those of the first iterations."""
    straight = toy.runner(tmp_path, max_iters=4, save_interval=2, hooks=(first := DrawNumbers(),))
    straight.train()
    checkpoint = torch.load(tmp_path / "iter_2.pth", weights_only=True)
    del checkpoint["random_states"]
    torch.save(checkpoint, tmp_path / "foreign.pth")
    second = DrawNumbers()
    resumed = toy.runner(
        tmp_path / "b",
        max_iters=4,
        hooks=(second,),
        resume=True,
        load_from=str(tmp_path / "foreign.pth"),
    )
    resumed.train()
    assert any("holds no random states" in line for line in resumed.log.lines)
    assert not set(second.numbers.values()) & set(first.numbers.values())


@pytest.mark.parametrize(("rank", "known"), [(0, True), (1, True), (2, False)])
def test_another_number_of_processes(monkeypatch, rank, known) -> None:
    """Written by 2, resumed by 3: own states if there are some, else a seed from the position."""
    module = "mmsemi.engine.hooks.random_state_hook"
    warnings = []
    monkeypatch.setattr(f"{module}.get_rank", lambda: rank)
    monkeypatch.setattr(f"{module}.get_world_size", lambda: 3)
    monkeypatch.setattr(f"{module}.print_log", lambda text, *_: warnings.append(text))

    class Runner:
        seed, iter, _resume = 5, 100, True

    ranks, expected = [], []
    for seed in range(2):
        random.seed(seed), np.random.seed(seed), torch.manual_seed(seed)
        ranks.append(capture_random_states())
        expected.append(draw())
    found = []
    for iteration in (100, 100, 101):
        Runner.iter = iteration
        hook = RandomStateHook()
        hook.after_load_checkpoint(Runner, dict(random_states=dict(ranks=ranks, sampler={})))
        hook.restore(Runner)
        found.append(draw())
    assert "written by 2 processes and is resumed by 3" in warnings[0]
    assert found[0] == found[1]
    assert (found[0] == expected[rank]) if known else (found[0] != found[2])


def train_as_process(rank: int, port: int, toy, work_dir, results) -> None:
    """One of two gloo processes: 6 iterations, then 3 more from the checkpoint at 3."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    numbers = []
    for resume in (False, True):
        random.seed(rank)
        runner = toy.runner(
            work_dir / f"resume{resume}",
            max_iters=6,
            save_interval=3,
            teacher=False,
            hooks=(hook := DrawNumbers(),),
            resume=resume,
            load_from=str(work_dir / "resumeFalse" / "iter_3.pth") if resume else None,
        )
        for _ in range(rank):  # the processes' states differ
            draw()
        runner.train()
        numbers.append([hook.numbers[i] for i in range(3, 6)])
        dist.barrier()
    results.put((rank, numbers))
    dist.destroy_process_group()


@pytest.mark.slow
def test_every_process_continues_with_its_own_states(toy, tmp_path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    processes = [
        context.Process(target=train_as_process, args=(rank, port, toy, tmp_path, results))
        for rank in range(2)
    ]
    for process in processes:
        process.start()
    found = dict(results.get(timeout=90) for _ in processes)
    for process in processes:
        process.join(timeout=30)
        assert process.exitcode == 0
    for straight, resumed in found.values():
        assert straight == resumed
    assert found[0][0] != found[1][0]
    assert os.path.isfile(tmp_path / "resumeFalse" / "iter_6.pth")
    stored = torch.load(tmp_path / "resumeFalse" / "iter_3.pth", weights_only=True)
    assert len(stored["random_states"]["ranks"]) == 2
