# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Reading hostile files in a process of its own, and seeing what that did."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from mmsemi.errors import user_error

_KINDS = {0: "read", 2: "refused", 3: "raised"}
_MARK = "executed"


class Runs:
    """Pickles as a call: unpickled carelessly it runs."""

    def __init__(self, function: Callable, *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@dataclass
class Outcome:
    """How an attempt ended: 'read', 'refused' (a mistake of the user), 'raised', 'crashed', 'hung'."""

    kind: str
    text: str


class World:
    """A folder with bait: code to be found, files to be lost, and one folder ``here`` for results.

    Attributes:
        here: The working directory of the attempts, and the folder that the user named.
        mark: A file whose presence means that something was executed.
        shell: A command that makes it.
    """

    def __init__(self, root: Path) -> None:
        self.root, self.here, self.mark = root / "world", root / "world/here", root / _MARK
        self.shell = f"touch {self.mark}"
        (self.root / "bait").mkdir(parents=True)
        self.here.mkdir()
        touch = f"open({str(self.mark)!r}, 'w').close()\n"
        for name in ("evil_module.py", "evil_package/__init__.py", "evil_package/registry.py"):
            path = self.root / "bait" / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(f"{touch}def run(*args, **kwargs):\n    {touch}")
        programs = self.root / "bait" / "bin"
        programs.mkdir()
        (programs / "gs").write_text(f"#!/bin/sh\n{self.shell}\n")
        (programs / "gs").chmod(0o755)
        (self.root / "precious.pth").write_bytes(b"of another run")

    def _outside(self) -> dict[str, bytes | None]:
        found = {}
        for path in sorted(self.root.rglob("*")):
            if self.here not in path.parents and "__pycache__" not in path.parts:
                found[str(path)] = path.read_bytes() if path.is_file() else None
        return found

    def attempt(self, read: Callable[[], object], seconds: int = 60) -> Outcome:
        """Call in a child process; nothing may run, crash, or change outside of ``here``."""
        before = self._outside()
        receiver, sender = os.pipe()
        child = os.fork()
        if child == 0:
            self._child(read, sender, seconds)
        os.close(sender)
        with os.fdopen(receiver, errors="replace") as pipe:
            text = pipe.read()
        status = os.waitpid(child, 0)[1]
        killed = os.WTERMSIG(status) if os.WIFSIGNALED(status) else None
        if killed is None:
            kind = _KINDS.get(os.WEXITSTATUS(status), "crashed")
        else:
            kind = "hung" if killed == signal.SIGALRM else "crashed"
        assert not self.mark.exists(), f"it was executed ({kind}: {text})"
        assert self._outside() == before, f"something outside changed ({kind}: {text})"
        return Outcome(kind, text)

    def _child(self, read: Callable[[], object], sender: int, seconds: int) -> None:
        code, text = 3, ""
        try:
            signal.alarm(seconds)
            torch.set_num_threads(1)
            os.chdir(self.here)
            sys.path.insert(0, str(self.root / "bait"))
            os.environ["PATH"] = f"{self.root / 'bait/bin'}:{os.environ['PATH']}"
            try:
                read()
                code = 0
            except BaseException as error:
                mistake = user_error(error)
                code, text = (2, str(mistake)) if mistake else (3, traceback.format_exc())
            os.write(sender, text.encode(errors="replace")[:60_000])
        finally:
            os._exit(code)

    def refuses(self, read: Callable[[], object], name: str = "", seconds: int = 60) -> None:
        """It ends in one line that names the file."""
        outcome = self.attempt(read, seconds)
        assert outcome.kind == "refused", f"{outcome.kind}: {outcome.text}"
        assert "\n" not in outcome.text and name in outcome.text, outcome.text
