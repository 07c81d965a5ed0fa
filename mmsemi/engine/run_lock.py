# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""One training at a time in a work dir.

The operating system's lock on a file tells a living run from a dead one, on this machine always and
between machines where their file system passes locks on. Where it does not, the file says who holds
it: a process of this machine is looked up, one of another machine has to touch the file now and then.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from pathlib import Path
from typing import Any

from mmengine.dist import broadcast_object_list, is_main_process

from ..errors import ConfigError

FILE = ".run.lock"
#: Seconds between two touches of the file, and after how many without one another machine's run is dead.
_TOUCH, _DEAD = 5.0, 20.0


class RunLock:
    """Holds a work dir for the main process of a run, as a context.

    Args:
        work_dir: The folder.

    Raises:
        ConfigError: On entering, on every process: another run that lives holds it.
    """

    def __init__(self, work_dir: str | os.PathLike) -> None:
        self.path = Path(work_dir) / FILE
        self._file: int | None = None
        self._touched = 0.0

    def __enter__(self) -> RunLock:
        outcome = [self._take() if is_main_process() else None]
        broadcast_object_list(outcome)
        if outcome[0] is not None:
            raise ConfigError(outcome[0])
        return self

    def __exit__(self, *_: Any) -> None:
        if self._file is not None:
            # Not deleted: another run may have opened it already.
            os.ftruncate(self._file, 0)
            os.close(self._file)
            self._file = None

    def touch(self) -> None:
        """Sign of life; call it often."""
        if self._file is not None and time.monotonic() - self._touched > _TOUCH:
            os.utime(self._file)
            self._touched = time.monotonic()

    def _take(self) -> str | None:
        """Take the lock, or say who has it."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
        # POSIX locks and not flock's: forked loader workers, which may outlive a kill, have none.
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            held, works = False, True
        except (BlockingIOError, PermissionError):
            held, works = True, True
        except OSError:  # a file system without locks
            held, works = False, False
        owner = self._owner(file)
        if held or (owner and self._lives(file, owner, works)):
            os.close(file)
            by = f"process {owner['pid']} on {owner['host']}" if owner else "another process"
            return (
                f"work_dir={self.path.parent} is in use by another run ({by}): wait for its end, or "
                "give this one a --work-dir of its own"
            )
        me = json.dumps(dict(host=socket.gethostname(), pid=os.getpid())).encode()
        os.ftruncate(file, 0)
        os.pwrite(file, me, 0)
        self._file = file
        return None

    @staticmethod
    def _owner(file: int) -> dict | None:
        try:
            owner = json.loads(os.pread(file, 4096, 0))
            return dict(host=str(owner["host"]), pid=int(owner["pid"]))
        except (ValueError, KeyError, TypeError):  # none, or not ours
            return None

    @staticmethod
    def _lives(file: int, owner: dict, lock_works: bool) -> bool:
        """Whether a run that left its name, but not the lock, is still there."""
        if owner["host"] == socket.gethostname():
            if lock_works or owner["pid"] == os.getpid():
                return False
            try:
                os.kill(owner["pid"], 0)
            except ProcessLookupError:
                return False
            except PermissionError:
                pass
            return True
        last, end = os.fstat(file).st_mtime_ns, time.monotonic() + _DEAD
        while time.monotonic() < end:
            time.sleep(_TOUCH / 5)
            if os.fstat(file).st_mtime_ns != last:
                return True
        return False
