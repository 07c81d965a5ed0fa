# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Semi-supervised semantic segmentation on the stock OpenMMLab tools.

Importing the package does three things, in this order: it checks the installed packages and says in
one message what to install if they do not fit, it applies :mod:`mmsemi.compat`, and it registers
everything in ``mmseg.registry``. Configs ask for it with
``custom_imports=dict(imports=['mmsemi'], allow_failed_imports=False)``; programs that use
``mmseg.apis`` import ``mmsemi`` first.
"""

import sys
from pathlib import Path

from mmsemi.version import __version__


def _only_helps() -> bool:
    """Whether this process is ``mmsemi --help``, which must not wait for torch."""
    # Python's -m takes the place of the program's name until the module is found.
    is_module = sys.argv[:1] == ["-m"]
    program = sys.orig_argv[2:3] if is_module else [Path(arg).stem for arg in sys.argv[:1]]
    return program == ["mmsemi"] and sys.argv[1:] in ([], ["-h"], ["--help"], ["--version"])


if not _only_helps():
    from mmsemi.environment import check_environment

    check_environment()
    # The stock packages import only once compat is applied, so the order of these lines matters.
    from mmsemi import compat

    compat.apply()

    from mmsemi import datasets, engine, evaluation, models, visualization


def __getattr__(name: str) -> object:
    """``mmsemi.load``, whose modules are imported when it is asked for."""
    if name == "load":
        from mmsemi.prediction import load

        return load
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "__version__",
    "compat",
    "datasets",
    "engine",
    "evaluation",
    "load",
    "models",
    "visualization",
]
