# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Tiny trainings of shipped methods in forked processes, and what two of their folders have in common.

Importing torch and mmseg takes most of a short run, so one process imports, and each run is a fork of
it that executes a tool of the checkout as its user would.
"""

from __future__ import annotations

import atexit
import json
import os
import runpy
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
METHODS = ("cps", "mean_teacher", "fixmatch", "unimatch", "advsemiseg", "s4gan", "mlmt")
ITERS, INTERVAL = 20, 5
#: Ends of the names of what a clock wrote.
_CLOCK = ("time", "memory")
#: What a checkpoint says of when and where a run was; the version ends in the hash of the current commit.
_SURROUNDINGS = ("time", "cfg", "experiment_name", "mmengine_version", "eta")


def warm_up() -> None:
    """Import what every run imports. No logger, message hub or thread is made."""
    os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1", PYTHONPATH=str(ROOT))
    sys.path.insert(0, str(ROOT))
    import torch.utils.tensorboard
    import torchvision  # noqa: F401
    from mmengine.config import config

    import mmsemi  # noqa: F401

    torch.set_num_threads(1)
    # mmengine formats the text of the config at each save: most of a tiny run's time.
    config.FormatCode = lambda code, **_: (code, False)


def scratch(name: str) -> Path:
    """A new folder."""
    return Path(tempfile.mkdtemp(prefix=f"mmsemi_{name}_"))


def make_data(folder: Path, train: int = 16, val: int = 4) -> Path:
    """A few images of the built-in set."""
    from mmsemi.datasets.shapes_generator import write_shapes

    if not (folder / "shapes.json").exists():
        write_shapes(folder, 0, train, val)
    return folder


def _dictionaries(node: Any) -> Iterator[dict]:
    if isinstance(node, dict):
        yield node
    for value in node.values() if isinstance(node, dict) else node:
        if isinstance(value, (dict, list, tuple)):
            yield from _dictionaries(value)


def tiny_config(method: str, data: Path, out: Path, iters: int = ITERS, **options: Any) -> Path:
    """Write a method's config for the built-in set, made tiny.

    Args:
        method: Its folder in ``configs``.
        data: From :func:`make_data`.
        out: The file.
        iters: Length of the run; it validates and stores every ``INTERVAL`` iterations.
        options: As ``--cfg-options``.
    """
    from mmengine.config import Config

    config = Config.fromfile(ROOT / "configs" / method / "shapes_1-8.py")
    for node in _dictionaries(config._cfg_dict):
        node.update({key: 8 for key in ("base_channels", "stem_channels") if key in node})
        if node.get("type") == "ShapesDataset":
            node["data_root"] = str(data)
        if "crop_size" in node:
            node["crop_size"] = (48, 48)
    model, counts = config.model, config.train_dataloader.sampler.num_per_source
    sizes = dict(labeled=2, unlabeled=0 if method == "supervised" else 4, gt=2)
    counts.update({source: sizes[source] for source in counts})
    config.train_dataloader.dataset.split.ratio = 0.5
    if "segmentor" in model:
        model.segmentor.decode_head.update(in_channels=[8, 32], channels=16, c1_channels=8)
    for setting, value in (("rampup_iters", 8), ("unsup_start", 6)):
        if setting in model:
            model[setting] = value
    if method == "mlmt":
        model.classifier.head.in_channels = 32
        model.update(epochs=iters // INTERVAL, epoch_iters=INTERVAL)
    config.train_cfg.pop("epochs", None)
    config.train_cfg.update(max_iters=iters, val_interval=INTERVAL)
    config.default_hooks.checkpoint.interval = INTERVAL
    config.default_hooks.logger.interval = 1
    config.merge_from_dict(options)
    out.parent.mkdir(parents=True, exist_ok=True)
    config.dump(out)
    return out


# --- Processes ------------------------------------------------------------------------------------


def start(
    tool: str,
    *arguments: Any,
    log: Path,
    cwd: Path | None = None,
    before: Callable[[], None] | None = None,
) -> int:
    """Fork a process, leader of a session, that runs ``tools/TOOL``; its output goes to ``log``.

    Returns:
        Its id.
    """
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        return pid
    code: Any = 70
    try:
        os.setsid()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        for stream in (1, 2):
            os.dup2(output, stream)
        sys.stdout = os.fdopen(1, "w", buffering=1, closefd=False)
        sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)
        os.chdir(cwd or Path.cwd())
        if before:
            before()
        sys.argv = [str(ROOT / "tools" / tool), *map(str, arguments)]
        code = _run_script(sys.argv[0])
        atexit._run_exitfuncs()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _run_script(path: str) -> int:
    sys.path.insert(0, str(Path(path).parent))  # as Python does, and the tools replace it
    try:
        runpy.run_path(path, run_name="__main__")
        return 0
    except SystemExit as error:
        if isinstance(error.code, str):
            print(error.code, file=sys.stderr)
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException as error:
        traceback.print_exc()
        return 130 if isinstance(error, KeyboardInterrupt) else 1


def wait(pid: int, timeout: float = 300) -> int | None:
    """Exit code (negative: the signal that ended it); after the time, None, and the session is killed."""
    end = time.time() + timeout
    while time.time() < end:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
    kill_session(pid)
    os.waitpid(pid, 0)
    return None


def kill_session(pid: int) -> None:
    """``kill -9`` of a started process and its children."""
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


def session_members(session: int) -> list[int]:
    """Living processes of a session, whose leader may be gone."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, of = entry.read_text().rsplit(")", 1)[1].split()[:4]
        except OSError:  # gone
            continue
        if int(of) == session and state != "Z":
            found.append(int(entry.parent.name))
    return found


# --- Results --------------------------------------------------------------------------------------


def _log(work_dir: Path) -> Iterator[dict]:
    """Lines of the logs of all runs in a folder, in time; a last one may be cut off."""
    for path in sorted(work_dir.glob("*/vis_data/scalars.json")):
        for line in path.read_text().splitlines():
            try:
                yield json.loads(line)
            except ValueError:
                continue


def last_iter(work_dir: Path) -> int:
    """The last training iteration that was logged."""
    return max((line["step"] for line in _log(work_dir) if "loss" in line), default=0)


def scalars(work_dir: Path) -> dict[tuple[str, int], dict]:
    """Logged values by ('train' or 'val', step), of the later run where two have one; no times."""
    found = {}
    for line in _log(work_dir):
        if "step" in line:
            kept = {key: value for key, value in line.items() if not key.endswith(_CLOCK)}
            found["train" if "loss" in line else "val", line["step"]] = kept
    return dict(sorted(found.items()))


def differences(a: Any, b: Any, where: str = "") -> list[str]:
    """Where two nested values differ, bit for bit."""
    import numpy as np
    import torch

    if type(a) is not type(b):
        return [f"{where}: {type(a).__name__} / {type(b).__name__}"]
    if isinstance(a, (torch.Tensor, np.ndarray)):
        # As bytes: NaN equals NaN, 0 does not equal -0.
        left, right = (np.ascontiguousarray(x).tobytes() for x in (a, b))
        return [] if a.shape == b.shape and a.dtype == b.dtype and left == right else [where]
    if isinstance(a, dict):
        if a.keys() != b.keys():
            return [f"{where}: keys {sorted(map(str, a.keys() ^ b.keys()))[:5]}"]
        return [found for key in a for found in differences(a[key], b[key], f"{where}.{key}")]
    if isinstance(a, (list, tuple)):
        if len(a) != len(b):
            return [f"{where}: length {len(a)} / {len(b)}"]
        pairs = enumerate(zip(a, b))
        return [found for i, (x, y) in pairs for found in differences(x, y, f"{where}[{i}]")]
    if hasattr(a, "_log_history"):  # mmengine's HistoryBuffer
        values = [(x._log_history, x._count_history) for x in (a, b)]
        return differences(*values, where)
    return [] if a == b or (a != a and b != b) else [f"{where}: {str(a)[:60]} / {str(b)[:60]}"]


def _comparable(path: Path) -> dict:
    """A checkpoint without what names a time or a place."""
    from mmsemi.compat import load_checkpoint_file

    checkpoint = load_checkpoint_file(str(path))
    for key in _SURROUNDINGS:
        checkpoint["meta"].pop(key, None)
    hub = checkpoint["message_hub"]
    logs = {k: v for k, v in hub["log_scalars"].items() if not k.endswith(_CLOCK)}
    info = {
        key: value.replace(str(path.parent), "WORK") if isinstance(value, str) else value
        for key, value in hub["runtime_info"].items()
        if key not in _SURROUNDINGS
    }
    checkpoint["message_hub"] = dict(log_scalars=logs, runtime_info=info)
    return checkpoint


def compare_runs(straight: Path, other: Path, iters: int = ITERS) -> list[str]:
    """Every difference between the results of two runs: files, checkpoints, pointer, curves, scores."""
    folders = (straight, other)
    names = [sorted(path.name for path in folder.glob("*.pth*")) for folder in folders]
    found = [] if names[0] == names[1] else [f"files {names[0]} / {names[1]}"]
    for name in sorted(set(names[0]) & set(names[1])):
        found += differences(*(_comparable(folder / name) for folder in folders), name)
    for folder in folders:
        pointer = (folder / "last_checkpoint").read_text()
        if folder / pointer != folder / f"iter_{iters}.pth":
            found.append(f"last_checkpoint of {folder.name} names {pointer}")
    scores = [folder / "scores.npz" for folder in folders]
    if scores[0].exists() and scores[0].read_bytes() != scores[1].read_bytes():
        found.append("scores.npz")
    return found + differences(*map(scalars, folders), "curves")


def remove(folder: Path) -> None:
    """Delete a scratch folder."""
    shutil.rmtree(folder, ignore_errors=True)
