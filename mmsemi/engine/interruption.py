# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Ctrl-C and SIGTERM end a training in order, on every process at the same iteration.

Decisions:

- A signal only sets a number. The loop looks at it between two iterations and a validation between
  two images, so nothing is ever half done; a second signal ends the process at once.
- Processes tell each other without waiting: what they exchange after one iteration is read after the
  next one, so all stop at the same one. A validation, whose processes do not wait for each other,
  agrees behind its last image.
- Between the two iterations of an accumulated gradient nobody stops: a checkpoint has no gradients.
- Loader workers, which terminals, launchers and clusters signal too, go on until the main process
  ends them: a dead worker would end the training in the middle of an iteration.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from types import FrameType
from typing import Any

import torch
import torch.distributed as dist
from torch.utils.data import DataLoader

from ..errors import Interrupted

SIGNALS = (signal.SIGINT, signal.SIGTERM)
#: Launchers pass on what the terminal sends to every process itself: within these seconds it is one.
_SAME_SIGNAL = 1.0


class Interruption:
    """Listens to signals while a training runs, as a context.

    Attributes:
        allowed: Whether the training may stop where it is; the same on all processes.
    """

    def __init__(self) -> None:
        self.allowed = True
        self._received = self._agreed = 0
        self._time = 0.0
        self._previous: dict[int, Any] = {}
        self._group: Any = None
        self._exchange: tuple[Any, torch.Tensor] | None = None

    def __enter__(self) -> Interruption:
        if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
            self._group = dist.new_group(backend="gloo")  # whatever the gradients travel by
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                # What the shell ignores, as in the background of a script, stays ignored.
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._previous[number] = signal.signal(number, self._receive)
        return self

    def __exit__(self, kind: type | None, *_: Any) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        if self._group is not None and (kind is None or issubclass(kind, Interrupted)):
            dist.barrier(self._group)  # a launcher kills those that are left behind by the first
            dist.destroy_process_group(self._group)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self._received and time.monotonic() - self._time > _SAME_SIGNAL:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        elif not self._received:
            self._received, self._time = number, time.monotonic()
            name = signal.Signals(number).name
            # Not print: the handler may run within one.
            os.write(2, f"{name}: the training stops here; again to stop at once\n".encode())

    def check(self) -> None:
        """Between two iterations of training, on every process.

        Raises:
            Interrupted: A process got a signal, and the training may stop here.
        """
        if self._group is None:
            self._agreed = self._received
        else:
            if self._exchange is not None:
                self._exchange[0].wait()
                self._agreed = max(self._agreed, int(self._exchange[1]))
            number = torch.tensor(self._received)
            self._exchange = (self._share(number, async_op=True), number)
        if self._agreed and self.allowed:
            raise Interrupted(self._agreed)

    def _share(self, number: torch.Tensor, async_op: bool) -> Any:
        return dist.all_reduce(number, dist.ReduceOp.MAX, self._group, async_op)

    def until_signal(self, batches: Iterable) -> Iterator:
        """The batches of a validation.

        Raises:
            Interrupted: A process got a signal on the way; on all of them, behind their last batch.
        """
        for batch in start_workers(batches):
            if self._received and self.allowed:
                break
            yield batch
        number = torch.tensor(self._received if self.allowed else 0)
        if self._group is not None:
            self._share(number, async_op=False)
        if number:
            raise Interrupted(int(number))


def start_workers(batches: Iterable) -> Iterator:
    """The iterator of a loader; no signal reaches its workers before they know what to do with one."""
    # A worker begins with the mask of the thread that starts it.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        return iter(batches)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def shield_workers(loader: DataLoader) -> None:
    """Let the workers that a loader starts from now on be ended by this process only."""
    if loader.num_workers and not isinstance(loader.worker_init_fn, _ShieldedStart):
        loader.worker_init_fn = _ShieldedStart(loader.worker_init_fn)


class _ShieldedStart:
    """A ``worker_init_fn`` before which the worker shuts its ears."""

    def __init__(self, then: Callable[[int], Any] | None) -> None:
        self.then = then
        self.main_process = os.getpid()

    def __call__(self, worker_id: int) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        # torch's own handler dies of everyone's SIGTERM. A thread can ask who sent it.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        threading.Thread(target=self._obey_main_process, daemon=True).start()
        if self.then is not None:
            self.then(worker_id)

    def _obey_main_process(self) -> None:
        while signal.sigwaitinfo({signal.SIGTERM}).si_pid != self.main_process:
            pass
        os._exit(0)
