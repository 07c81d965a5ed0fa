# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""The command line of ``tools/check_dataset.py``."""

from __future__ import annotations

import argparse
import json
import os
import os.path as osp
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mmengine.config import DictAction
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope

from ..launch import (
    UsageError,
    check_option,
    default_work_dir,
    find_config,
    find_deliberate_message,
    keep_traceback,
    load_config,
    run_tool,
)
from ..visualization.report import encode_png
from . import report
from .contact_sheet import make_contact_sheet
from .findings import Finding, is_failure
from .overlap_rules import check_classes, check_folders, check_lists, check_overlap
from .scan import ProgressBar, Task, scan_files
from .source_rules import Statistics, check_source
from .sources import Collection, Source, collect


@dataclass
class Check:
    """The result of a check: what was found, and what it was found in."""

    collection: Collection
    stats: dict[str, Statistics] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    files: int = 0
    seconds: float = 0.0


def plan(sources: Sequence[Source]) -> list[Task]:
    """The files to read; masks of unlabelled images are not among them."""
    tasks: list[Task] = []
    for source in sources:
        for item in source.items:
            origin = item.origin
            if item.mask_path is not None:
                tasks.append(("mask", item.mask_path, origin.backend_args))
            is_mask = source.known_masks and osp.realpath(item.img_path) in source.known_masks
            if origin.reads_images and not is_mask:
                tasks.append(("image", item.img_path, origin.backend_args))
    return tasks


def head_classes(model: Mapping | None) -> int | None:
    """``num_classes`` of the (last) decode head of a model config, None if it says none."""
    model = model or {}
    model = model.get("segmentor") or model
    head = model.get("decode_head") if isinstance(model, Mapping) else None
    head = head[-1] if isinstance(head, (list, tuple)) and head else head
    return head.get("num_classes") if isinstance(head, Mapping) else None


def check_config(config: Mapping, workers: int = 1, progress: ProgressBar | None = None) -> Check:
    """Check all files that a loaded config names.

    Args:
        config: With at least one of the three loaders.
        workers: Processes that read files.
        progress: Told how many files are done.
    """
    collection = collect(config)
    sources = collection.sources
    tasks = plan(sources)
    started = time.perf_counter()
    found = scan_files(tasks, workers, progress)
    result = Check(collection, findings=list(collection.findings), files=len(found))
    result.seconds = time.perf_counter() - started
    for source in sources:
        result.stats[source.name], findings = check_source(source, found)
        # A source that draws the labelled files once more only adds what its pipeline makes of them.
        again = source.pool == "labeled"
        known = {finding.code for finding in result.findings if finding.source == "labeled"}
        result.findings += [one for one in findings if not (again and one.code in known)]
    train = (config.get("train_dataloader") or {}).get("dataset") or {}
    result.findings += check_folders(sources)
    result.findings += check_lists(collection.list_files, train.get("split"), sources)
    result.findings += check_classes(sources, result.stats, head_classes(config.get("model")))
    result.findings += check_overlap(sources, found)
    for origin in {id(o): o for s in sources for o in s.origins}.values():
        if not origin.reads_images:
            result.findings.append(
                Finding(
                    "info",
                    "images-not-read",
                    str(origin.img_dir),
                    1,
                    "the pipeline reads images with a loader of its own: they were not opened",
                    "nothing; train for an iteration to see that they load",
                )  # fmt: skip
            )
    return result


def add_contact_sheet(config: Mapping, result: Check, path: Path, title: str, rows: int) -> bool:
    """Write the contact sheet; a batch that cannot be made is a finding. Returns whether it is there."""
    dataset = result.collection.train_dataset
    if dataset is None:
        return False
    try:
        picture = make_contact_sheet(config, dataset, title, rows)
    except Exception as error:
        if keep_traceback():
            raise
        reason = find_deliberate_message(error) or f"{type(error).__name__}: {error}"
        known = is_failure(result.findings, strict=False)
        result.findings.append(
            Finding(
                "info" if known else "error",
                "batch-cannot-be-made",
                "train_dataloader",
                1,
                reason.strip().splitlines()[0],
                "correct the errors above first" if known else "training would stop here, too",
            )  # fmt: skip
        )
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode_png(picture))
    return True


def count_cpus() -> int:
    """The CPUs that this process may use, which a container or scheduler may have limited."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def parse_args(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description="Find what is wrong with the images, masks and lists of a config, and draw a "
        "contact sheet of a training batch as the model will see it.",
        epilog="exit code: 0 clean, 1 errors found (with --strict also warnings), 2 wrong usage",
    )
    parser.add_argument("config")
    parser.add_argument(
        "--workers", type=int, default=count_cpus(), help="processes that read files"
    )
    parser.add_argument("--json", metavar="FILE", help="also write statistics and findings here")
    parser.add_argument(
        "--contact-sheet",
        metavar="FILE.png",
        help="default: work_dirs/check_dataset/<method>/<config name>.png",
    )
    parser.add_argument("--no-contact-sheet", action="store_true")
    parser.add_argument("--samples", type=int, default=4, help="rows of the contact sheet")
    parser.add_argument("--strict", action="store_true", help="warnings fail, too")
    parser.add_argument("--cfg-options", nargs="+", action=DictAction, default={})
    return parser.parse_args(arguments)


def _sheet_path(args: argparse.Namespace, config_path: str) -> Path:
    if args.contact_sheet:
        return Path(args.contact_sheet)
    own = osp.relpath(default_work_dir(Path(config_path)), "work_dirs")
    return Path("work_dirs", "check_dataset", f"{own}.png")


def run(args: argparse.Namespace) -> int:
    """Check, print, write the files; returns the exit code.

    Raises:
        UsageError: An argument is wrong.
    """
    if args.workers < 1 or args.samples < 1:
        raise UsageError("--workers and --samples must be at least 1")
    if args.contact_sheet and Path(args.contact_sheet).suffix.lower() != ".png":
        raise UsageError(f"--contact-sheet {args.contact_sheet} must end in .png")
    path = find_config(args.config)
    config = load_config(path)
    for key in args.cfg_options:
        check_option(key, config, path)
    config.merge_from_dict(args.cfg_options)
    if not any(config.get(f"{role}_dataloader") for role in ("train", "val", "test")):
        raise UsageError(
            f"config {path} has no train_dataloader, val_dataloader or test_dataloader"
        )
    init_default_scope(config.get("default_scope", "mmseg"))
    MMLogger.get_current_instance().setLevel("WARNING")

    with ProgressBar() as progress:
        result = check_config(config, args.workers, progress)
    sheet = _sheet_path(args, path)
    has_sheet = not args.no_contact_sheet and add_contact_sheet(
        config, result, sheet, args.config, args.samples
    )
    sources, stats = result.collection.sources, result.stats
    blocks = []
    if sources:
        blocks += [report.source_table(sources, stats), report.class_table(sources, stats)]
    blocks.append(report.finding_lines(result.findings))
    print("\n\n".join("\n".join(block) for block in blocks if block))
    print(f"\n{args.config}: {result.files} files in {result.seconds:.1f} s, ", end="")
    end = "" if args.no_contact_sheet else "; no contact sheet, as no training batch can be made"
    print(report.summary(result.findings) + (f"; contact sheet {sheet}" if has_sheet else end))
    if args.json:
        Path(args.json).parent.mkdir(parents=True, exist_ok=True)
        values = report.as_json(args.config, sources, stats, result.findings)
        Path(args.json).write_text(json.dumps(values, indent=2) + "\n")
    return int(is_failure(result.findings, args.strict))


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line of ``tools/check_dataset.py``."""
    args = parse_args(arguments)
    return run_tool("check_dataset", lambda: run(args))
