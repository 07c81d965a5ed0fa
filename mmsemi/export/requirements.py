# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""What must be installed where an exported model is loaded.

It is read off the modules of the built network, not off the config: a type that a stock part builds by
itself counts too.
"""

from __future__ import annotations

from importlib import metadata

from torch import nn

from .config import package_of

#: mmseg imports these, whatever the network is made of.
_ALWAYS = ("torch", "mmengine", "mmcv", "mmseg", "ftfy", "regex")
_OPERATORS = "mmcv-lite lacks the compiled operators that mmseg imports"


def packages_of(model: nn.Module) -> list[str]:
    """Import names of the packages that the classes of a network's modules come from."""
    return list(dict.fromkeys(package_of(type(module)) for module in model.modules()))


def requirements(packages: list[str]) -> list[str]:
    """Lines of a ``requirements.txt``: what is installed here, by version.

    Args:
        packages: Import names beside those that mmseg always needs.
    """
    distributions = metadata.packages_distributions()
    lines = []
    for package in dict.fromkeys([*_ALWAYS, *packages]):
        name = next(iter(distributions.get(package, [])), None)
        if name is None:
            lines.append(f"# {package}: of no installed distribution")
            continue
        version = metadata.version(name).partition("+")[0]
        is_lite = name == "mmcv-lite"
        pinned = f"{'mmcv' if is_lite else name}=={version}"
        lines.append(f"{pinned}  # {_OPERATORS}" if is_lite else pinned)
    return lines
