# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""``mmsemi init``: a config for folders of images, masks and unlabelled images."""

from __future__ import annotations

import argparse
import shlex
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..datasets.label_table import LabelTable
from ..errors import ConfigError, DataError, close_matches
from ..own_data.codes import Codes, Meaning, find_meaning, parse_classes, read_codes
from ..own_data.division import Division, divide
from ..own_data.images import Labeled, check_images, described
from ..own_data.pairs import find_images, find_pairs, write_lists
from ..own_data.writing import (
    DEFAULT_MODEL,
    METHODS,
    Model,
    Plan,
    config_text,
    find_model,
    seconds_per_step,
)
from ..utils.config_files import read_config
from ..utils.packaged_weights import SCHEME, weight_file
from ..utils.supervised_twin import supervised_twin
from .check_dataset import ProgressBar, count_cpus

#: Larger images are made smaller for training and validation.
MAX_SIDE = 1024


@dataclass
class Folder:
    """Images with masks of one purpose, read.

    Attributes:
        pairs: (image, mask).
        rest: The images without a mask.
        labeled: Facts about the images with masks.
        codes: What each mask holds.
    """

    pairs: list[tuple[str, str]]
    rest: list[str]
    labeled: Labeled
    codes: list[Codes]


def parse_args(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line.

    Raises:
        ConfigError: An argument is out of range, or a file would be replaced.
    """
    parser = argparse.ArgumentParser(
        description="Look at folders of images, masks and unlabelled images, and write a config that trains "
        "on them.",
        epilog="guide: docs/own_data.md",
    )
    add = parser.add_argument
    add(
        "--images", required=True, metavar="DIR", help="images; those without a mask are unlabelled"
    )
    add("--masks", required=True, metavar="DIR", help="masks, named as their images; any suffix")
    add("--unlabeled", nargs="+", default=[], metavar="DIR", help="further images without masks")
    add("--val-images", metavar="DIR", help="images for validation (default: some of --images)")
    add("--val-masks", metavar="DIR", help="their masks")
    add(
        "--classes",
        required=True,
        help="a,b,c in the order of the masks' values; a=0,b=255 or a=#000000,b=#ff0000+#00ff00 or a=0,b=* "
        "to say how masks store them; or a file with a class a line",
    )
    add("--void", default="", metavar="CODES", help="values or colours without a label")
    add("--method", default="fixmatch", help=", ".join(METHODS))
    add("--model", default=DEFAULT_MODEL, help="a base in configs/_base_/models or an mmseg config")
    add(
        "--budget",
        type=float,
        metavar="MINUTES",
        help="length of the run with unlabelled images (default: 2,000 steps)",
    )
    add("--crop", type=int, help="side of the training crop")
    add("-o", "--out", default="my.py", metavar="FILE.py", help="config to write (my.py)")
    add("--force", action="store_true", help="replace an earlier one")
    args = parser.parse_args(arguments)
    if args.method not in METHODS:
        raise ConfigError(
            f"--method {args.method} is none of {', '.join(METHODS)}{close_matches(args.method, METHODS)} "
            "(other methods need more than a data set: docs/own_data.md)"
        )
    if bool(args.val_images) != bool(args.val_masks):
        raise ConfigError("--val-images and --val-masks go together")
    if args.budget is not None and args.budget <= 0:
        raise ConfigError(f"--budget {args.budget:g} must be more than 0 minutes")
    if args.crop is not None and args.crop < 32:
        raise ConfigError(f"--crop {args.crop} must be at least 32 pixels")
    if Path(args.out).suffix != ".py" or not Path(args.out).stem.isidentifier():
        raise ConfigError(f"-o {args.out} must be NAME.py, with letters, digits and _ in the name")
    if Path(args.out).exists() and not args.force:
        raise ConfigError(
            f"'{args.out}' exists already: choose another -o, or --force to replace it"
        )
    return args


def say(topic: str, text: str) -> None:
    """A line of what was found and decided."""
    print(f"{topic:<10}{text}")


# --- Reading --------------------------------------------------------------------------------------


def read_folder(images: str, masks: str, options: tuple[str, str], what: str) -> Folder:
    """Pair and read images and masks.

    Raises:
        DataError: Something in them cannot be trained on.
    """
    found = find_pairs(images, masks, options)
    codes = [read_codes(mask) for _, mask in found.pairs]
    labeled = check_images(found.pairs, [one.size_wh for one in codes])
    say("found", f"{len(found.pairs)} {what}, {found.rule}: {described(labeled.facts)}")
    for note in labeled.notes:
        say("", note)
    if found.masks:
        lost = len(found.masks)
        say("note", f"masks without an image are not used: {lost}, e.g. '{found.masks[0]}'")
    return Folder(found.pairs, found.images, labeled, codes)


def read_unlabeled(args: argparse.Namespace, train: Folder) -> list[tuple[str, str]]:
    """The images without masks, each with the folder that it was found in.

    Raises:
        DataError: There is none, and the method needs some.
    """
    used = {Path(path).resolve() for pair in train.pairs for path in pair}
    if args.val_images:
        used |= {Path(p).resolve() for p in find_images(args.val_images, "--val-images")}
    found: dict[Path, tuple[str, str]] = {}
    folders = [(folder, find_images(folder, "--unlabeled")) for folder in args.unlabeled]
    for folder, paths in [*folders, (args.images, train.rest)]:
        for path in paths:
            if Path(path).resolve() not in used:
                found.setdefault(Path(path).resolve(), (path, folder))
    if args.method == "supervised":
        if found:
            say("note", f"{len(found)} images without a mask are not used by --method supervised")
        return []
    if not found:
        raise DataError(
            f"there is no image without a mask, and --method {args.method} learns from them: give a folder "
            "with --unlabeled, or --method supervised"
        )
    say("found", f"{len(found)} images without a mask")
    return sorted(found.values())


def read_meaning(args: argparse.Namespace, folders: Sequence[Folder]) -> tuple[Codes, Meaning]:
    """What the masks hold, and what it means."""
    total = Codes()
    for folder in folders:
        for one in folder.codes:
            total.add(one)
    say("masks", total.described)
    meaning = find_meaning(total, parse_classes(args.classes, args.void))
    for note in meaning.notes:
        say("", note)
    everything = sum(meaning.pixels) or 1
    named = zip(meaning.classes, meaning.pixels)
    say("", "pixels: " + ", ".join(f"{name} {count / everything:.1%}" for name, count in named))
    if meaning.label_table is not None:
        say("", "the config gets a label table; the files stay as they are")
    return total, meaning


def classes_in(codes: Codes, is_colour: bool, meaning: Meaning) -> set[int]:
    """Classes of one mask."""
    table = meaning.label_table or {name: i for i, name in enumerate(meaning.classes)}
    labels = LabelTable(table, meaning.classes, meaning.void)
    stored = codes.colours if is_colour else codes.values
    found = {labels.label_of.get(code, labels.rest) for code in stored}
    return {label for label in found if label < len(meaning.classes)}


# --- Deciding -------------------------------------------------------------------------------------


def choose_size(folder: Folder, crop: int | None, has_gpu: bool) -> tuple[int, int | None]:
    """Side of the crop, and the side that larger images are brought to, None for as they are."""
    sizes = [one.size_wh for one in folder.labeled.facts]
    long_side = statistics.median(max(size) for size in sizes)
    factor = min(1.0, MAX_SIDE / long_side)
    short_side = statistics.median(min(size) for size in sizes) * factor
    limit = 320 if has_gpu else 128
    side = crop or max(64, min(limit, int(short_side) // 32 * 32))
    return side, MAX_SIDE if factor < 1 else None


def make_plan(
    args: argparse.Namespace,
    folders: Sequence[Folder],
    meaning: Meaning,
    division: Division,
    folder_of: Mapping[str, str],
    model: Model,
) -> Plan:
    """What the config says, but for the length of the run.

    Args:
        args: Of the command line.
        folders: Of training and, if there is one, of validation.
        meaning: What the masks say.
        division: Which file is for what.
        folder_of: Unlabelled image -> the folder that it was found in.
        model: The network.
    """
    import torch

    has_gpu = torch.cuda.is_available()
    crop, max_side = choose_size(folders[0], args.crop, has_gpu)
    if not args.crop and model.crop and has_gpu:
        crop = min(model.crop)
    if crop % model.patch:
        below = max(1, crop // model.patch) * model.patch
        if args.crop:
            raise ConfigError(
                f"--crop {crop}: {args.model} takes multiples of its patch of {model.patch} pixels, such as "
                f"{below} and {below + model.patch}"
            )
        crop = below
    where = "" if has_gpu else " (small, as there is no GPU here)"
    say("decided", f"{args.method} on {args.model}, crop {crop}{where}")
    if max_side:
        say("", f"images are made smaller, to {max_side} pixels in the long side")
    out = Path(args.out)
    names = ["labeled", "val", *(["unlabeled"] if division.unlabeled else [])]
    lists = {name: (out.parent / f"{out.stem}_lists" / f"{name}.txt").as_posix() for name in names}
    counts = f"{len(division.labeled)} labelled, {len(division.unlabeled)} unlabelled, {len(division.val)} "
    return Plan(
        method=args.method,
        model=args.model,
        classes=meaning.classes,
        label_table=meaning.label_table,
        void=meaning.void,
        lists=lists,
        unlabeled_dirs=list(
            dict.fromkeys(Path(folder_of[path]).as_posix() for path in division.unlabeled)
        ),
        crop=crop,
        batch=8 if has_gpu else 4,
        workers=min(4, count_cpus()),
        max_side=max_side,
        ignores_exif=any(one.labeled.ignores_exif for one in folders),
        max_iters=2000,
        comments=[
            f"{counts}validation images. Written by mmsemi init (docs/own_data.md):",
            f"mmsemi init {shlex.join(sys.argv[1:])}",
        ],
    )


def fit_budget(path: Path, plan: Plan, minutes: float) -> None:
    """Set the length of the run to what a step takes here, and say what the supervised runs add.

    Raises:
        ConfigError: Not even 20 steps fit.
    """
    config = read_config(str(path))
    seconds = seconds_per_step(config)
    # A tenth for validation and loading.
    steps = int(0.9 * 60 * minutes / seconds)
    say("measured", f"{seconds:.2f} s a step here: {steps} steps in {minutes:g} minutes")
    if steps < 20:
        raise ConfigError(
            f"--budget {minutes:g} minutes are {steps} steps of {seconds:.2f} s: give at least "
            f"{20 * seconds / 54:.1f} minutes (a few hundred steps are the least that learns something), a "
            f"smaller --crop than {plan.crop}, or a GPU"
        )
    if plan.method != "supervised":
        more = steps * seconds_per_step(supervised_twin(config)) / 54
        two = " (cps starts from two)" if plan.method == "cps" else ""
        say(
            "",
            f"the supervised runs of --from supervised{two} and --baseline: {more:.1f} minutes each",
        )
    if steps < 400:
        say("warning", f"{steps} steps are few: our runs on nuclei take 400 and more")
    plan.max_iters = steps


def next_steps(out: str, model: Model, method: str) -> None:
    """The commands that follow."""
    for weights in dict.fromkeys(model.weights):
        name = weights.removeprefix(SCHEME)
        if weights.startswith(SCHEME) and not weight_file(name).is_file():
            say("next", f"mmsemi weights {name}    # ImageNet weights, once")
        elif "://" in weights and not weights.startswith(SCHEME):
            say("note", f"the network starts from {weights}, which is downloaded")
    say("next", f"mmsemi check-dataset {out}")
    if method == "supervised":
        say("next", f"mmsemi train {out}")
        return
    say("next", f"mmsemi train {out} --from supervised --baseline")
    say(
        "",
        "first without the unlabelled images, then with them from there; and whether they helped",
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Look, decide, write.

    Returns:
        0.

    Raises:
        UserError: What cannot be trained on, with the reason and what to do.
    """
    args = parse_args(arguments)
    model = find_model(args.model)
    train = read_folder(args.images, args.masks, ("--images", "--masks"), "labelled images")
    folders = [train]
    if args.val_images:
        options = ("--val-images", "--val-masks")
        folders.append(
            read_folder(args.val_images, args.val_masks, options, "images for validation")
        )
        if {one.labeled.ignores_exif for one in folders} >= {True, False}:
            raise DataError(
                "EXIF tags turn images together with their masks in only one of --masks and --val-masks: turn "
                "the pixels once and remove the tags: mogrify -auto-orient"
            )
    total, meaning = read_meaning(args, folders)
    unlabeled = read_unlabeled(args, train)
    classes_of = [classes_in(one, total.is_colour, meaning) for one in train.codes]
    with ProgressBar() as progress:
        division = divide(
            train.pairs,
            args.images,
            folders[1].pairs if args.val_images else None,
            unlabeled,
            classes_of,
            meaning.classes,
            say,
            progress,
        )
    if not division.unlabeled and args.method != "supervised":
        raise DataError(
            "every image without a mask is, or looks like, one with a mask: give others with --unlabeled, or "
            "--method supervised"
        )
    plan = make_plan(args, folders, meaning, division, dict(unlabeled), model)
    out = Path(args.out)
    names = division.unlabeled
    if len(plan.unlabeled_dirs) == 1:  # as the data set names the images of one folder
        names = [Path(name).relative_to(plan.unlabeled_dirs[0]).as_posix() for name in names]
    write_lists(plan.lists, division.labeled, division.val, names)
    out.write_text(config_text(plan, model), encoding="utf-8")
    if args.budget is not None:
        try:
            fit_budget(out, plan, args.budget)
        except Exception:
            out.unlink()
            raise
        out.write_text(config_text(plan, model), encoding="utf-8")
    say("wrote", f"{out} and {', '.join(plan.lists.values())}")
    next_steps(args.out, model, args.method)
    return 0
