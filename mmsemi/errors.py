# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""What a user can do wrong, as types: the command line prints their message, one line, and no traceback.

Raise the kind that fits, with the file or setting, its value and the fix in one line. Any other
exception is a fault of the program and keeps its traceback.
"""

from __future__ import annotations

import difflib
import inspect
import os
import re
import signal
import traceback
from collections.abc import Iterable, Iterator

_BUILD_FUNCTIONS = os.path.join("mmengine", "registry", "build_functions.py")
#: The error that ended a loader worker, in the text that torch makes of its traceback.
_WORKER_ERROR = re.compile(r"^mmsemi\.errors\.(\w+): (.+?)(?=\n\n|\Z)", re.MULTILINE | re.DOTALL)


class UserError(Exception):
    """A mistake that the user can repair; its text is all that they see."""


class ConfigError(UserError, ValueError):
    """A setting, an argument or a combination of them that no run can mean."""


class DataError(UserError, ValueError):
    """A file or folder of the user's data that is missing, broken or not what its place says."""


class CheckpointError(UserError, RuntimeError):
    """A checkpoint or weight file that is missing, damaged, or of another model."""


class TrainingError(UserError, RuntimeError):
    """A training that cannot go on, such as one whose loss is no number any more."""


class Interrupted(SystemExit):
    """A training was ended by a signal; ``code`` is what a shell expects, 128 + its number."""

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)
        self.signal = signal.Signals(number).name


class InstallationError(UserError, ImportError):
    """A package that is missing, or does not fit the others."""


class MachineError(UserError, RuntimeError):
    """What this machine cannot give: memory, disk, a port, a GPU, a process that lives."""


def close_matches(name: object, legal: Iterable[object], cutoff: float = 0.5) -> str:
    """``'; did you mean ...?'`` for the legal names that resemble ``name``, else an empty string."""
    names = [str(item) for item in legal]
    found = difflib.get_close_matches(str(name), names, n=3, cutoff=cutoff)
    return f"; did you mean {' or '.join(repr(match) for match in found)}?" if found else ""


def user_error(error: BaseException) -> UserError | None:
    """The user's mistake behind an exception, None if there is none.

    Searched is the chain of causes, outermost first: for a :class:`UserError`, for one that torch
    raised again with the traceback of a loader worker as its text, for an entry of the config that
    a registry could not build, and for a failure of the stack that is known.
    """
    from .known_failures import known_failure  # which raises the types above

    for link in _chain(error):
        text = str(link)
        if "Original Traceback" in text:
            ends = _WORKER_ERROR.findall(text)
            kind = globals().get(ends[-1][0]) if ends else None
            if inspect.isclass(kind) and issubclass(kind, UserError):
                return kind(ends[-1][1].strip())
        elif isinstance(link, UserError):
            return link
        found = _unbuildable_entry(link)
        if found is not None:
            return ConfigError(found)
        failure = known_failure(link)
        if failure is not None:
            return failure
    return None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An exception, its cause, the cause of that, ..."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        yield error
        seen.add(id(error))
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _unbuildable_entry(error: BaseException) -> str | None:
    """What is wrong with the entry of the config that mmengine's registry was building.

    That is an unknown or missing key of a class, or a type that nothing registers. None for errors
    from within the classes.
    """
    if not isinstance(error, (KeyError, TypeError)):
        return None
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    builds = [i for i, f in enumerate(frames) if f.f_code.co_filename.endswith(_BUILD_FUNCTIONS)]
    if not builds or any(f.f_code.co_name != "__init__" for f in frames[builds[-1] + 1 :]):
        return None
    values = frames[builds[-1]].f_locals
    if isinstance(error, KeyError) and builds[-1] == len(frames) - 1:
        kind, registry = values.get("obj_type"), values.get("registry")
        if isinstance(kind, str) and registry is not None:
            known = registry.module_dict
            return (
                f"the config has type='{kind}', which nothing registers{close_matches(kind, known)}"
            )
        if isinstance(values.get("cfg"), dict) and "type" not in values["cfg"]:
            return f"an entry of the config has no type: {dict(values['cfg'])}"
    cls = values.get("obj_cls")
    if not isinstance(error, TypeError) or not isinstance(cls, type):
        return None
    unknown = re.search(r"__init__\(\) got an unexpected keyword argument '(\w+)'", str(error))
    if unknown:
        keys = [key for base in cls.__mro__ for key in _constructor_arguments(base)]
        return (
            f"the config gives {cls.__name__} the unknown key '{unknown[1]}'"
            f"{close_matches(unknown[1], keys)}"
        )
    missing = re.search(r"__init__\(\) missing \d+ required .*?arguments?: (.+)", str(error))
    return f"the config lacks {missing[1]} of {cls.__name__}" if missing else None


def _constructor_arguments(cls: type) -> list[str]:
    """Names of the arguments of a class's own constructor."""
    constructor = cls.__dict__.get("__init__")
    names = inspect.signature(constructor).parameters if inspect.isfunction(constructor) else ()
    return [name for name in names if name not in ("self", "args", "kwargs")]
