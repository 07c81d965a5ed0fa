# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Running mmseg's own ``tools/train.py`` and ``tools/test.py`` with everything of mmsemi in place.

The installed scripts are run, not copied, so their arguments and behaviour are the stock ones. Added
is what helps a user: a config is found by its name, and wrong arguments are refused before anything
starts.
"""

from __future__ import annotations

import importlib.util
import os
import re
import sys
import traceback
from argparse import Namespace
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import mmseg

from ..errors import CheckpointError, InstallationError, close_matches, user_error
from ..utils.config_files import (
    CfgOptions,
    default_work_dir,
    find_config,
    read_config,
    spread_options,
)


def run_stock_tool(name: str, options: Mapping[str, Any] | None = None) -> None:
    """Run ``tools/<name>.py`` of the installed mmseg on the arguments in ``sys.argv``.

    Args:
        name: 'train' or 'test'.
        options: Set in the config as well.

    Raises:
        UserError: A wrong argument, or whatever training or testing refuses. In the second case the
            traceback is in the work directory.
    """
    work_dir: str | None = None
    stock = load_stock_tool(name)
    stock.DictAction = CfgOptions
    stock_parse_args = stock.parse_args

    def parse_args() -> Namespace:
        nonlocal work_dir
        args = stock_parse_args()
        args.config = find_config(args.config)
        config = read_config(args.config, args.cfg_options)
        args.cfg_options = {**spread_options(config, args.cfg_options or {}), **(options or {})}
        if getattr(args, "checkpoint", None):
            check_checkpoint(args.checkpoint)
        if args.work_dir is None and not config.get("work_dir"):
            args.work_dir = default_work_dir(args.config)
        work_dir = args.work_dir or config["work_dir"]
        return args

    stock.parse_args = parse_args
    try:
        stock.main()
    except Exception as error:
        if user_error(error) is not None and work_dir is not None and os.path.isdir(work_dir):
            rank = os.environ.get("RANK", "0")
            path = Path(work_dir, f"traceback{'' if rank == '0' else f'_rank{rank}'}.txt")
            with suppress(OSError):  # a full disk may be what went wrong
                path.write_text(traceback.format_exc(), encoding="utf-8")
                print(f"The full traceback is in {path}.", file=sys.stderr)
        raise


def load_stock_tool(name: str) -> ModuleType:
    """Import ``mmseg/.mim/tools/<name>.py`` without running it as a script.

    As a module, and not as ``__main__``: a worker process started by spawn imports the main script
    again and has to find ours, which imports mmsemi.
    """
    path = Path(mmseg.__file__).parent / ".mim" / "tools" / f"{name}.py"
    if not path.is_file():
        raise InstallationError(
            f"the installed mmsegmentation does not carry its tools ({path} is missing); install "
            "the released wheel: pip install --force-reinstall --no-deps mmsegmentation==1.2.2"
        )
    spec = importlib.util.spec_from_file_location(f"mmseg_tools_{name}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def check_checkpoint(checkpoint: str) -> None:
    """Refuse a local checkpoint that does not exist; a URL or scheme is left to the loader."""
    path = Path(checkpoint).expanduser()
    if re.match(r"\w[\w-]*:(//|:)", checkpoint) or path.is_file():
        return
    known = path.parent.glob("*.pth")
    raise CheckpointError(
        f"there is no checkpoint '{checkpoint}'{close_matches(checkpoint, known)}"
    )
