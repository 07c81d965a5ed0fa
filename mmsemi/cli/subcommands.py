# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Commands that lead to one of several modules, each with arguments of its own."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module


def run_subcommand(package: str, names: Mapping[str, str], arguments: Sequence[str]) -> int:
    """Run ``main(arguments)`` of the module that the first argument names; returns its exit code.

    Args:
        package: The modules' package.
        names: Module -> what it does, in one line.
        arguments: The module's name, then its own arguments.
    """
    name, *rest = arguments or ["--help"]
    if name in names:
        if sys.argv[0].startswith("mmsemi "):  # not a script, which is named for the module
            sys.argv[0] += f" {name}"
        return import_module(f"{package}.{name}").main(rest)
    parser = argparse.ArgumentParser(
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="\n".join(f"{key:<18}{text}" for key, text in names.items()),
        epilog="`NAME --help` shows the arguments of each",
    )
    parser.add_argument("name", metavar="NAME", choices=list(names))
    parser.add_argument("arguments", metavar="...", nargs=argparse.REMAINDER)
    parser.parse_args(arguments or ["--help"])
    return 0
