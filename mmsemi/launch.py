# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Runs mmseg's own ``tools/train.py`` and ``tools/test.py`` with everything of mmsemi in place.

The installed scripts are run, not copied, so their arguments and behaviour are the stock ones.
Added is what helps a user: a config is found from any directory, a wrong argument ends in one line
with close matches (exit code 2), and an error that mmsemi raised on purpose ends in its message
(exit code 1). Any other exception keeps its traceback; ``MMSEMI_TRACEBACK=1`` keeps it for all.
"""

from __future__ import annotations

import atexit
import difflib
import importlib.util
import inspect
import linecache
import os
import re
import sys
import traceback
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import NoReturn

from mmsemi.errors import UserError
from mmsemi.utils import close_matches

PACKAGE = Path(__file__).resolve().parent
_BUILD_FUNCTIONS = os.path.join("mmengine", "registry", "build_functions.py")
# Keys that are read from the config beside the arguments of mmengine's Runner.
EXTRA_CONFIG_KEYS = frozenset(
    (
        "activation_checkpointing",
        "compile",
        "detect_anomalous_params",
        "find_unused_parameters",
        "model_wrapper_cfg",
        "runner_type",
        "strategy",
        "sync_bn",
        "tta_model",
        "tta_pipeline",
    )
)


class UsageError(Exception):
    """A wrong argument; its text is the one line that the user sees."""


def run_stock_tool(name: str) -> int:
    """Runs ``tools/<name>.py`` of the installed mmseg on ``sys.argv`` and returns the exit code.

    Args:
        name: 'train' or 'test'.
    """
    work_dir: list[str] = []
    try:
        stock = load_stock_tool(name)
        stock_parse_args = stock.parse_args

        def parse_args() -> Namespace:
            args = stock_parse_args()
            config = check_arguments(args)
            if args.work_dir is None and not config.get("work_dir"):
                args.work_dir = default_work_dir(Path(args.config))
            work_dir.append(args.work_dir or config["work_dir"])
            return args

        stock.parse_args = parse_args
        stock.main()
    except UsageError as error:
        print(f"{name}.py: error: {error}", file=sys.stderr)
        return 2
    except Exception as error:
        message = None if keep_traceback() else find_deliberate_message(error)
        if message is None:
            raise
        where = save_traceback(work_dir[0] if work_dir else None)
        print(f"{where}\n{name}.py: error: {message}", file=sys.stderr)
        return 1
    return 0


def exit_tool(code: int) -> NoReturn:
    """Ends the process of a tool with an exit code.

    One of several processes ends without the interpreter's teardown: the threads of gloo, which stock
    mmengine leaves behind, may outlive it and abort the process ("terminate called without an active
    exception"), so that a run that has ended well is reported as failed. What Python runs at exit,
    such as ending loader workers, is run.
    """
    import torch.distributed as dist

    if not (dist.is_available() and dist.is_initialized()):
        sys.exit(code)
    if code == 0:
        dist.barrier()  # nobody leaves while another rank still waits for an answer
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def default_work_dir(config: Path) -> str:
    """The stock rule, ``work_dirs/<config name>``, with the method's folder for shipped configs.

    A method and its baseline have configs of one name; in one folder, the second run would replace
    the checkpoints of the first.
    """
    config = config.resolve()
    is_shipped = config.parent.parent.name == "configs"
    return os.path.join("work_dirs", config.parent.name if is_shipped else "", config.stem)


def load_stock_tool(name: str) -> ModuleType:
    """Imports ``mmseg/.mim/tools/<name>.py`` without running it as a script.

    As a module, and not as ``__main__``: a worker process started by spawn imports the main script
    again and has to find ours, which imports mmsemi.
    """
    import mmseg

    path = Path(mmseg.__file__).parent / ".mim" / "tools" / f"{name}.py"
    if not path.is_file():
        raise UsageError(
            f"the installed mmsegmentation does not carry its tools ({path} is missing); install "
            "the released wheel: pip install --force-reinstall --no-deps mmsegmentation==1.2.2"
        )
    spec = importlib.util.spec_from_file_location(f"mmseg_tools_{name}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# --- Arguments ------------------------------------------------------------------------------------


def check_arguments(args: Namespace) -> dict:
    """Resolves ``args.config`` in place, checks the checkpoint and the ``--cfg-options`` keys.

    Returns:
        The loaded config.

    Raises:
        UsageError: One of them is wrong.
    """
    args.config = find_config(args.config)
    config = load_config(args.config)
    if getattr(args, "checkpoint", None):
        check_checkpoint(args.checkpoint)
    for key in args.cfg_options or {}:
        check_option(key, config, args.config)
    return config


def list_config_roots() -> list[Path]:
    """Returns where a relative config path is looked up: here, the checkout, the wheel's data."""
    roots = [Path.cwd(), PACKAGE.parent, PACKAGE / ".mim"]
    return [root for root in roots if root == Path.cwd() or (root / "configs").is_dir()]


def find_config(config: str) -> str:
    """Returns the path of a config given by its path, its path in the project or its package."""
    if "::" in config:
        from mmengine.config import Config

        try:
            return Config._get_cfg_path(config, "")[0]
        except (ModuleNotFoundError, FileNotFoundError, ValueError, AssertionError) as error:
            raise UsageError(str(error)) from None
    roots = list_config_roots()
    for root in roots:
        if (root / config).is_file():
            return str(Path(config)) if root == Path.cwd() else str(root / config)
    found = [(root, path) for root in roots[1:] for path in root.glob("configs/**/*.py")]
    known = {str(path.relative_to(root)) for root, path in found if "_base_" not in path.parts}
    folder = Path(config).parent
    if folder.is_dir():
        known |= {str(folder / path.name) for path in folder.glob("*.py")}
    if Path(config).is_dir():
        raise UsageError(f"{config} is a folder, not a config file{close_matches(config, known)}")
    raise UsageError(f"there is no config {config}{close_matches(config, known)}")


def load_config(path: str) -> dict:
    """Loads a config; every error in it becomes one line that names the file."""
    from mmengine.config import Config

    try:
        return Config.fromfile(path)
    except Exception as error:
        if keep_traceback():
            raise
        line = f", line {error.lineno}" if isinstance(error, SyntaxError) else ""
        message = find_deliberate_message(error) or f"{type(error).__name__}: {error}"
        raise UsageError(f"config {path}{line} cannot be loaded: {message}") from None


def check_checkpoint(checkpoint: str) -> None:
    """Refuses a local checkpoint that does not exist; a URL or scheme is left to the loader."""
    path = Path(checkpoint).expanduser()
    if re.match(r"\w[\w-]*:(//|:)", checkpoint) or path.is_file():
        return
    known = {str(entry) for entry in path.parent.glob("*.pth")} if path.parent.is_dir() else set()
    raise UsageError(f"there is no checkpoint {checkpoint}{close_matches(checkpoint, known)}")


def check_option(key: str, config: dict, config_path: str) -> None:
    """Refuses a ``--cfg-options`` key that nothing would read, by its first part.

    Deeper new keys get a note only: adding one is legal (``model.backbone.with_cp=True``).
    """
    from mmengine.runner import Runner

    first, *rest = key.split(".")
    readable = set(inspect.signature(Runner.__init__).parameters) - {"self"} | EXTRA_CONFIG_KEYS
    if first not in config and first not in readable:
        known = set(config) | readable
        raise UsageError(
            f"--cfg-options {key}: {config_path} has no {first!r}{close_matches(first, known)}"
        )
    node = config.get(first)
    for depth, part in enumerate(rest, start=1):
        if not hasattr(node, "keys"):
            return
        if part not in node:
            close = difflib.get_close_matches(part, list(node), n=1, cutoff=0.8)
            if close:
                where = ".".join([first, *rest][:depth])
                note = f"adds the new key {part!r} to {where}, which has {close[0]!r}"
                print(f"note: --cfg-options {note}", file=sys.stderr)
            return
        node = node[part]


# --- Errors ---------------------------------------------------------------------------------------


def run_tool(name: str, run: Callable[[], int | None]) -> int:
    """Run one of our own command-line tools; what is the user's to repair ends in one line.

    Args:
        name: Script without suffix, for the message.
        run: The work; returns the exit code, None is 0.

    Returns:
        The exit code: 2 for a wrong argument, 1 for wrong data (an error that mmsemi raised on
        purpose, or one of the file system). Any other exception keeps its traceback.
    """
    try:
        return run() or 0
    except UsageError as error:
        print(f"{name}.py: error: {error}", file=sys.stderr)
        return 2
    except Exception as error:
        message = find_deliberate_message(error)
        if message is None and isinstance(error, OSError):  # no permission, no space, ...
            message = str(error)
        if message is None or keep_traceback():
            raise
        print(f"{name}.py: error: {message}", file=sys.stderr)
        return 1


def keep_traceback() -> bool:
    """Returns whether the user asked for full tracebacks."""
    return os.environ.get("MMSEMI_TRACEBACK", "0") not in ("", "0")


def find_deliberate_message(error: BaseException) -> str | None:
    """Returns the message of an error that a ``raise`` statement in mmsemi made for the user.

    mmengine's registry and torch's data loader raise it again with their own text around it, so the
    chain of causes and the text of a worker's traceback are searched, too. None for any other
    error: a ``ValueError`` that ``int()`` raised inside mmsemi is a bug and keeps its traceback.
    """
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        if isinstance(current, UserError):
            return str(current)
        if isinstance(
            current, (ValueError, OSError, RuntimeError, TypeError, KeyError, ImportError)
        ):
            frames = traceback.extract_tb(current.__traceback__)
            if frames and is_deliberate(frames[-1].filename, frames[-1].lineno):
                return str(current.args[0]) if isinstance(current, KeyError) else str(current)
            message = find_worker_message(str(current)) or find_config_message(current)
            if message is not None:
                return message
        current = current.__cause__ or current.__context__
    return None


def find_config_message(error: BaseException) -> str | None:
    """Returns what is wrong with the config if a registry could not build one of its entries.

    That is an unknown or missing key of a class, or a type that nothing registers. None for errors
    from within the classes.
    """
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
        keys = [key for base in cls.__mro__ for key in _keys(base)]
        return (
            f"the config gives {cls.__name__} the unknown key '{unknown[1]}'"
            f"{close_matches(unknown[1], keys)}"
        )
    missing = re.search(r"__init__\(\) missing \d+ required .*?arguments?: (.+)", str(error))
    return f"the config lacks {missing[1]} of {cls.__name__}" if missing else None


def _keys(cls: type) -> list[str]:
    """Names of the arguments of a class's own constructor."""
    constructor = cls.__dict__.get("__init__")
    names = (
        list(inspect.signature(constructor).parameters) if inspect.isfunction(constructor) else []
    )
    return [name for name in names if name not in ("self", "args", "kwargs")]


def find_worker_message(text: str) -> str | None:
    """Returns the deliberate message in the text that torch raises for a worker process."""
    if "Original Traceback" not in text:
        return None
    frames = list(re.finditer(r'^  File "(.+?)", line (\d+), in .+$', text, re.MULTILINE))
    if not frames or not is_deliberate(frames[-1][1], int(frames[-1][2])):
        return None
    final = re.search(
        r"^[\w.]+(?:Error|Exception): ((?:.|\n)+)", text[frames[-1].end() :], re.MULTILINE
    )
    return final[1].strip() if final else None


def is_deliberate(filename: str, line: int) -> bool:
    """Returns whether a line is a ``raise`` statement in the package."""
    is_ours = PACKAGE in Path(filename).resolve().parents
    return is_ours and linecache.getline(filename, line).strip().startswith("raise ")


def save_traceback(work_dir: str | None) -> str:
    """Writes the current exception into the work directory, if made, and says where it is."""
    if work_dir and os.path.isdir(work_dir):
        rank = os.environ.get("RANK", "0")
        path = os.path.join(
            work_dir, "traceback.txt" if rank == "0" else f"traceback_rank{rank}.txt"
        )
        with open(path, "w", encoding="utf-8") as file:
            file.write(traceback.format_exc())
        return f"The full traceback is in {path}."
    return "Set MMSEMI_TRACEBACK=1 to see the full traceback."
