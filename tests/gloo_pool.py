# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Two gloo processes, started once for all tests of a run; a test sends them a function.

Starting two processes that import torch and mmseg takes most of the time of a test with two ranks,
hence one pool (the idea is that of lightly's tests). Where one rank fails, the other may wait in a
collective forever: the pool is then killed, and started anew for the next test.
"""

from __future__ import annotations

import importlib.util
import inspect
import io
import multiprocessing
import os
import tempfile
import time
import traceback
from collections.abc import Callable
from datetime import timedelta
from multiprocessing.connection import Connection, wait
from typing import Any

import torch


class GlooPool:
    """Runs a function of a test file on every rank of a gloo process group.

    Args:
        world_size: Number of processes.
        timeout: Seconds that a task, or a collective in it, may take.
    """

    def __init__(self, world_size: int = 2, timeout: float = 600) -> None:
        self.world_size, self.timeout = world_size, timeout
        self._ranks: list[tuple[multiprocessing.Process, Connection]] = []

    def run(self, function: Callable, *args: Any) -> list[Any]:
        """Calls ``function(*args)`` on every rank and returns the results by rank.

        Args:
            function: A top-level function of a file, found there by its name.
            args: What ``torch.save`` can write; so must be the result.

        Raises:
            RuntimeError: A rank raised; holds its traceback.
        """
        if not self._ranks:
            self._start()
        task = _pack((inspect.getsourcefile(function), function.__name__, args))
        for _, connection in self._ranks:
            connection.send_bytes(task)
        results = self._collect()
        failures = [f"rank {rank}: {text}" for rank, (ok, text) in results.items() if not ok]
        if failures or len(results) < self.world_size:
            self.close()
            late = sorted(set(range(self.world_size)) - set(results))
            raise RuntimeError("\n".join([*failures, *(f"rank {r} gave no answer" for r in late)]))
        return [results[rank][1] for rank in range(self.world_size)]

    def close(self) -> None:
        """Ends the processes."""
        for process, connection in self._ranks:
            process.kill()
            process.join()
            connection.close()
        if self._ranks:
            self._folder.cleanup()
        self._ranks = []

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._folder = tempfile.TemporaryDirectory(prefix="gloo_pool_")
        rendezvous = os.path.join(self._folder.name, "rendezvous")
        for rank in range(self.world_size):
            connection, theirs = context.Pipe()
            process = context.Process(
                target=serve,
                args=(rank, self.world_size, rendezvous, self.timeout, theirs),
                daemon=True,
            )
            process.start()
            theirs.close()
            self._ranks.append((process, connection))

    def _collect(self) -> dict[int, tuple[bool, Any]]:
        """The answers by rank; after a failure the other ranks get a moment, not the full time."""
        results: dict[int, tuple[bool, Any]] = {}
        deadline = time.monotonic() + self.timeout
        pending = {connection: rank for rank, (_, connection) in enumerate(self._ranks)}
        while pending:
            ready = wait(list(pending), max(0, deadline - time.monotonic()))
            if not ready:
                break
            for connection in ready:
                rank = pending.pop(connection)
                try:
                    results[rank] = _unpack(connection.recv_bytes())
                except (EOFError, OSError):
                    results[rank] = (False, "the process died")
                if not results[rank][0]:
                    deadline = min(deadline, time.monotonic() + 5)
        return results


def serve(
    rank: int, world_size: int, rendezvous: str, timeout: float, connection: Connection
) -> None:
    """What a process of the pool does: join the group, then one task after the other."""
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(world_size))
    torch.set_num_threads(1)
    from mmengine.registry import init_default_scope

    import mmsemi  # noqa: F401  (applies compat and registers everything)

    torch.distributed.init_process_group(
        "gloo",
        init_method=f"file://{rendezvous}",
        rank=rank,
        world_size=world_size,
        timeout=timedelta(seconds=timeout),
    )
    modules: dict[str, Any] = {}
    while True:
        try:
            path, name, args = _unpack(connection.recv_bytes())
        except EOFError:
            return
        try:
            init_default_scope("mmseg")
            if path not in modules:
                # Registers what the file registers, hence once.
                spec = importlib.util.spec_from_file_location(f"gloo_task_{len(modules)}", path)
                modules[path] = importlib.util.module_from_spec(spec)
                spec.loader.exec_module(modules[path])
            answer = _pack((True, getattr(modules[path], name)(*args)))
        except Exception:
            answer = _pack((False, traceback.format_exc()))
        connection.send_bytes(answer)


def _pack(value: Any) -> bytes:
    """Tensors by value: multiprocessing itself would share memory that dies with its process."""
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def _unpack(data: bytes) -> Any:
    # Our own processes wrote it; arguments may be any object, such as a path.
    return torch.load(io.BytesIO(data), weights_only=False)
