# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""How far a training is, on the terminal: one line that says what one waits for."""

from __future__ import annotations

import logging
import shutil
import time
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import Hook, LoggerHook
from mmseg.registry import HOOKS

from .diagnosis_hook import DiagnosisHook

_CLEAR = "\r\x1b[2K"


@HOOKS.register_module()
class ProgressHook(Hook):
    """Show iteration, loss, kept share of the pseudo-labels, mIoU and the time left.

    On a terminal it is one line, written anew at most twice a second; elsewhere a line with each log. The
    stock lines of training iterations, ten values long, are in the log file only.

    Args:
        metric: Of the last validation that is shown.
        every: Seconds between two forms of the line on a terminal.
    """

    # Behind the hooks that it reads.
    priority = "VERY_LOW"

    def __init__(self, metric: str = "mIoU", every: float = 0.5) -> None:
        self.metric = metric
        self.every = every
        self._consoles: list[_Console] = []
        self._shown = 0.0

    def before_train(self, runner) -> None:
        """Take over the lines of training iterations on the console."""
        if not is_main_process():
            return
        handlers = [h for h in runner.logger.handlers if type(h) is logging.StreamHandler]
        self._consoles = [_Console(one) for one in handlers if one.level <= logging.INFO]
        intervals = [hook.interval for hook in runner.hooks if isinstance(hook, LoggerHook)]
        self._interval = intervals[0] if intervals else 50

    def after_train_iter(
        self, runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        """Show the line, if it is time."""
        if not self._consoles:
            return
        is_logged = self.every_n_train_iters(runner, self._interval)
        is_last = self.is_last_train_iter(runner)
        for console in self._consoles:
            if not console.is_terminal and (is_logged or is_last):
                console.write(progress_text(runner, self.metric))
            elif console.is_terminal and (is_last or time.monotonic() - self._shown >= self.every):
                console.rewrite(progress_text(runner, self.metric))
                self._shown = time.monotonic()

    def after_train(self, runner) -> None:
        """Give the console back."""
        for console in self._consoles:
            console.close()
        self._consoles = []


class _Console:
    """A handler of the log that writes to a stream, without the lines of training iterations."""

    def __init__(self, handler: logging.StreamHandler) -> None:
        self.handler = handler
        self.is_terminal = bool(getattr(handler.stream, "isatty", bool)())
        self._has_line = False
        handler.addFilter(self._keeps)

    def _keeps(self, record: logging.LogRecord) -> bool:
        if str(record.msg).startswith(("Iter(train)", "Epoch(train)")):
            return False
        if self._has_line:  # what is logged takes its place
            self.handler.stream.write(_CLEAR)
            self._has_line = False
        return True

    def write(self, text: str) -> None:
        """A line as all of the log."""
        record = logging.LogRecord("mmengine", logging.INFO, "", 0, text, (), None)
        self.handler.handle(record)

    def rewrite(self, text: str) -> None:
        """The line that replaces itself; cut, since a second row would stay."""
        width = shutil.get_terminal_size().columns
        self.handler.stream.write(f"{_CLEAR}{text[: width - 1]}")
        self.handler.stream.flush()
        self._has_line = True

    def close(self) -> None:
        """Leave the last line where it is."""
        if self._has_line:
            self.handler.stream.write("\n")
        self.handler.removeFilter(self._keeps)


def progress_text(runner, metric: str = "mIoU") -> str:
    """``iteration 250/400, loss 0.532, kept 43%, mIoU 71.20, 3 min left``; what is unknown is left out."""
    hub = runner.message_hub
    parts = [f"iteration {runner.iter + 1}/{runner.max_iters}"]
    if "train/loss" in hub.log_scalars:
        parts.append(f"loss {float(hub.get_scalar('train/loss').current()):.3f}")
    kept = [hook.kept for hook in runner.hooks if isinstance(hook, DiagnosisHook)]
    if kept and kept[0] is not None:
        parts.append(f"kept {kept[0]:.0%}")
    if f"val/{metric}" in hub.log_scalars:
        parts.append(f"{metric} {float(hub.get_scalar(f'val/{metric}').current()):.2f}")
    seconds = hub.get_info("eta")
    if seconds is not None:
        parts.append(f"{duration(seconds)} left")
    return ", ".join(parts)


def duration(seconds: float) -> str:
    """A time as people say it: ``40 s``, ``3 min``, ``2 h 5 min``."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
