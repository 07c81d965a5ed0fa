# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Semi-supervised semantic segmentation on the stock OpenMMLab tools.

Importing the package does three things, in this order: it checks the installed packages and says in
one message what to install if they do not fit, it applies :mod:`mmsemi.compat`, and it registers
everything in ``mmseg.registry``. Configs ask for it with
``custom_imports=dict(imports=['mmsemi'], allow_failed_imports=False)``; programs that use
``mmseg.apis`` import ``mmsemi`` first.
"""

from mmsemi.environment import check_environment
from mmsemi.version import __version__

check_environment()

# The stock packages import only once compat is applied, so the order of these lines matters.
from mmsemi import compat  # noqa: E402

compat.apply()

from mmsemi import datasets, engine, evaluation, models, visualization  # noqa: E402

__all__ = ["__version__", "compat", "datasets", "engine", "evaluation", "models", "visualization"]
