# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Checks the installed packages before anything heavy is imported.

Only distribution metadata is read (a few milliseconds, torch is not imported), so that a broken set
ends in one message with the command that repairs it instead of an import error deep inside a stock
package. The OneDL forks install the same import names under other distribution names and pass.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec

from .errors import InstallationError

Bounds = tuple[str, str]
PYTHON_BOUNDS = ((3, 10), (3, 14))


@dataclass(frozen=True)
class Requirement:
    """What one import name needs.

    Args:
        module: The import name.
        distributions: Distribution name -> (lowest version, first version that is too new), "" for
            no bound. Any one of them provides the module.
        reference: The pip requirement of the reference set, named in the fix.
    """

    module: str
    distributions: dict[str, Bounds]
    reference: str


REQUIREMENTS = (
    # 2.6 is the first torch whose loader takes an allow-list with names, which compat needs.
    Requirement("torch", {"torch": ("2.6", "3")}, "torch==2.11.0"),
    Requirement("torchvision", {"torchvision": ("0.21", "1")}, "torchvision==0.26.0"),
    Requirement(
        "mmengine",
        {
            "mmengine": ("0.10.5", "1"),
            "mmengine-lite": ("0.10.5", "1"),
            "onedl-mmengine": ("0.10.5", "1"),
        },
        "mmengine==0.10.7",
    ),
    # mmsegmentation 1.2.2 refuses mmcv 2.2; the fork's mmsegmentation has its own, later bound.
    Requirement(
        "mmcv",
        {"mmcv": ("2.0", "2.2"), "mmcv-lite": ("2.0", "2.2"), "onedl-mmcv": ("2.0", "3")},
        "mmcv-lite==2.1.0",
    ),
    Requirement(
        "mmseg",
        {"mmsegmentation": ("1.2", "2"), "onedl-mmsegmentation": ("1.2", "2")},
        "mmsegmentation==1.2.2",
    ),
    Requirement(
        "mmpretrain",
        {"mmpretrain": ("1.1", "2"), "onedl-mmpretrain": ("1.1", "2")},
        "mmpretrain==1.2.0",
    ),
    Requirement("ftfy", {"ftfy": ("", "")}, "ftfy"),
    Requirement("regex", {"regex": ("", "")}, "regex"),
)


def check_environment() -> None:
    """Raises one :class:`InstallationError` that lists every problem and the pip command to fix it."""
    problems: list[str] = []
    installs: list[str] = []
    removals: list[str] = []
    low, high = PYTHON_BOUNDS
    if not low <= sys.version_info[:2] < high:
        version = sys.version.split()[0]
        problems.append(f"Python {version} is not supported; use Python >=3.10,<3.14")
    for requirement in REQUIREMENTS:
        found = installed_versions(requirement)
        problem = find_problem(requirement, found)
        if problem:
            problems.append(problem)
            installs.append(requirement.reference)
            if len(found) > 1:
                removals.extend(found)
    pair_problem = find_torchvision_problem()
    if pair_problem:
        problems.append(pair_problem)
        installs.extend(r.reference for r in REQUIREMENTS[:2] if r.reference not in installs)
    if not problems:
        return
    lines = ["mmsemi cannot run with the packages installed here:"]
    lines += [f"  - {problem}" for problem in problems]
    commands = []
    if removals:
        commands.append(f"{sys.executable} -m pip uninstall -y {' '.join(removals)}")
    if installs:
        commands.append(f"{sys.executable} -m pip install {' '.join(installs)}")
    if commands:
        lines.append(f"Fix: {' && '.join(commands)}")
    raise InstallationError("\n".join(lines))


def installed_versions(requirement: Requirement) -> dict[str, str]:
    """Returns name -> version of every installed distribution that provides the module."""
    versions = {}
    for name in requirement.distributions:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def find_problem(requirement: Requirement, found: dict[str, str]) -> str | None:
    """Returns one line on what is wrong with the distributions of an import name, or None."""
    importable = find_spec(requirement.module) is not None
    if not found:
        # A source checkout on PYTHONPATH has no metadata; its own version asserts have to do.
        return None if importable else f"{requirement.module} is not installed"
    if len(found) > 1:
        names = " and ".join(f"{name} {version}" for name, version in found.items())
        return f"{names} are installed together, and both write the package {requirement.module}"
    name, version = next(iter(found.items()))
    if not importable:
        return f"{name} {version} is recorded as installed, but has no module {requirement.module}"
    lowest, too_new = requirement.distributions[name]
    if lowest and parse_release(version) < parse_release(lowest):
        return f"{name} {version} is too old; needed: >={lowest},<{too_new}"
    if too_new and parse_release(version) >= parse_release(too_new):
        return f"{name} {version} is too new; needed: >={lowest},<{too_new}"
    return None


def find_torchvision_problem() -> str | None:
    """Returns one line if torchvision was built for another torch, or None.

    Such a pair imports, and dies later with "operator torchvision::nms does not exist".
    """
    try:
        torch_version, vision_version = metadata.version("torch"), metadata.version("torchvision")
        requires = metadata.requires("torchvision") or []
    except metadata.PackageNotFoundError:
        return None
    for line in requires:
        pin = re.match(r"torch\s*\(?==\s*([\d.]+)", line)
        if pin and parse_release(pin[1]) != parse_release(torch_version):
            return (
                f"torchvision {vision_version} was built for torch {pin[1]}, "
                f"but torch {torch_version} is installed"
            )
    if torch_version.endswith("+cpu") and not vision_version.endswith("+cpu"):
        return (
            f"torch {torch_version} is a CPU-only build and torchvision {vision_version} is not; "
            "install both from the same index"
        )
    return None


def parse_release(version: str) -> tuple[int, ...]:
    """Returns the release numbers of a version without trailing zeros: '2.11.0+cpu' -> (2, 11)."""
    match = re.match(r"\d+(\.\d+)*", version)
    numbers = [int(part) for part in match[0].split(".")] if match else [0]
    while len(numbers) > 1 and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)
