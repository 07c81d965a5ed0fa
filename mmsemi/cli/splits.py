# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""``mmsemi splits``: labelled subsets, published ones by name and random ones of any data set."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from ..datasets import UnlabeledDataset
from ..datasets.files import relative_ids
from ..datasets.splits.folders import format_line, verify_split, write_list, write_split
from ..datasets.splits.ids import read_id_list, without_suffix
from ..datasets.splits.importing import import_master, import_split
from ..datasets.splits.masters import MasterLists, build_masters
from ..datasets.splits.protocols import BASE_MASTER, MASTERS, SplitProtocol, get_protocol
from ..datasets.splits.published import regenerate
from ..datasets.splits.seeded import CountSplit, RatioSplit
from ..datasets.splits.table import DATASETS, describe_protocol, format_table
from ..errors import ConfigError
from ..utils.files import file_sha256


def _masters(args: argparse.Namespace, dataset: str) -> MasterLists:
    known = {}
    if args.data_root is not None and dataset in BASE_MASTER:
        known = build_masters(dataset, args.data_root, args.sbd_root)
    return MasterLists(args.split_dir, known)


def _write(folder: Path, protocol: SplitProtocol, labeled, unlabeled, **info) -> None:
    base = BASE_MASTER.get(protocol.dataset)
    info |= dict(protocol=protocol.name, master_sha256=MASTERS[base].sha256 if base else None)
    write_split(folder, labeled, unlabeled, dataset=protocol.dataset, **info)
    print(f"written: {folder}")


def run_list(args: argparse.Namespace) -> int:
    """Shows the protocols."""
    if args.protocol:
        print(describe_protocol(get_protocol(args.protocol, args.fold)))
    else:
        print(format_table(args.dataset), end="")
    return 0


def run_masters(args: argparse.Namespace) -> int:
    """Writes the master lists of a data set."""
    if args.data_root is None:
        raise ConfigError("masters needs --data-root FOLDER")
    lists = build_masters(args.dataset, args.data_root, args.sbd_root)
    for name, ids in lists.items():
        path = Path(args.split_dir) / "masters" / f"{name}.txt"
        write_list(path, [format_line(item, args.dataset) for item in ids])
        print(f"{name}: {len(ids)} images, hash as published; written: {path}")
    return 0


def run_make(args: argparse.Namespace) -> int:
    """Writes a split that can be computed."""
    protocol = get_protocol(args.protocol, args.fold)
    if protocol.generator is None:
        raise ConfigError(
            f"split '{protocol.name}' cannot be computed, only imported: {protocol.import_command}"
        )
    labeled, unlabeled = regenerate(protocol, _masters(args, protocol.dataset))
    print(f"labelled: {len(labeled)} images, unlabelled: {len(unlabeled)}, hashes as published")
    for note in protocol.notes:
        print(f"note: {note}")
    folder = Path(args.out or Path(args.split_dir) / protocol.name)
    _write(folder, protocol, labeled, unlabeled, how="computed", generator=protocol.generator)
    return 0


def run_import(args: argparse.Namespace) -> int:
    """Checks a published file and writes it as a split folder or master list."""
    if (args.protocol is None) == (args.master is None):
        raise ConfigError("import needs either --protocol or --master")
    if args.master is not None:
        name, *files = args.master
        if name not in MASTERS or not files:
            raise ConfigError(f"--master NAME FILE: the names are {', '.join(MASTERS)}")
        ids = import_master(name, files)
        path = Path(args.split_dir) / "masters" / f"{name}.txt"
        write_list(path, [format_line(item, MASTERS[name].dataset) for item in ids])
        print(f"{name}: {len(ids)} images, hash as published; written: {path}")
        return 0
    if args.file_labeled is None:
        raise ConfigError("--protocol needs --file-labeled FILE")
    protocol = get_protocol(args.protocol, args.fold)
    found = import_split(
        protocol, args.file_labeled, args.file_unlabeled, _masters(args, protocol.dataset)
    )
    for note in found.notes:
        print(note)
    files = [
        dict(name=Path(file).name, sha256=file_sha256(file))
        for file in (args.file_labeled, args.file_unlabeled)
        if file is not None
    ]
    folder = Path(args.out or Path(args.split_dir) / protocol.name)
    info = dict(how="imported", files=files, notes=found.notes)
    _write(folder, protocol, found.labeled, found.unlabeled, **info)
    return 0


def _sample_ids(args: argparse.Namespace) -> list[str]:
    if (args.data_root is None) == (args.list is None):
        raise ConfigError("sample needs either --data-root FOLDER (of images) or --list FILE")
    if args.list is not None:
        lines = [line.replace("\\", "/").lstrip("/") for line in read_id_list(args.list)]
        return [without_suffix(line) for line in lines]
    dataset = UnlabeledDataset(img_dir=args.data_root, lazy_init=True)
    return relative_ids([info["img_path"] for info in dataset.load_data_list()])


def run_sample(args: argparse.Namespace) -> int:
    """Writes a random labelled subset of any data set."""
    if (args.ratio is None) == (args.count is None):
        raise ConfigError("sample needs either --ratio or --count")
    if args.count is None:
        split = RatioSplit(args.ratio, args.seed, args.rounding)
    else:
        split = CountSplit(args.count, args.seed)
    ids = _sample_ids(args)
    blank = next((name for name in ids if len(name.split()) != 1), None)
    if blank is not None:
        raise ConfigError(
            f"'{blank}' has a blank, which no list file can hold: rename the files, or use "
            "split=dict(type='RatioSplit', ...) in the config, which needs no list"
        )
    twice = next((name for name, count in Counter(ids).items() if count > 1), None)
    if twice is not None:
        raise ConfigError(
            f"'{args.data_root or args.list}' has '{twice}' twice, with different suffixes: give a "
            "folder that holds images and no masks, or a --list"
        )
    labeled, unlabeled = split(ids)
    if args.nested is not None:
        inner = set(read_id_list(Path(args.nested) / "labeled.txt"))
        outside = sorted(inner - {_line(item) for item in labeled})
        if outside:
            raise ConfigError(
                f"{len(outside)} labelled images of '{args.nested}' are not among these "
                f"{len(labeled)}, e.g. '{outside[0]}': subsets nest if data set and seed are the same"
            )
    print(f"labelled: {len(labeled)} of {len(ids)} images, unlabelled: {len(unlabeled)}")
    how = dict(
        ratio=getattr(split, "ratio", None),
        count=args.count,
        seed=args.seed,
        rounding=args.rounding,
    )
    folder = write_split(
        args.out, [_line(i) for i in labeled], [_line(i) for i in unlabeled], how="sampled", **how
    )
    print(f"written: {folder}")
    return 0


def _line(name: str) -> str:
    """mmseg appends Cityscapes' whole suffix, ``_leftImg8bit.png``, to a line."""
    return name.removesuffix("_leftImg8bit")


def run_verify(args: argparse.Namespace) -> int:
    """Hashes split folders again and looks their hashes up."""
    code = 0
    for folder in args.folder:
        found, wrong = verify_split(folder)
        print(f"{folder}:")
        for line in found:
            print(f"  {line}")
        for line in wrong:
            print(f"  WRONG: {line}")
        code = code or int(bool(wrong))
    return code


def build_parser() -> argparse.ArgumentParser:
    """The arguments of all sub-commands."""
    parser = argparse.ArgumentParser(
        description="Labelled subsets: published ones by name, and random ones of any data set. "
        "Training needs no command for splits that can be computed."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, run, text: str, *, roots: bool = False) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(run=run)
        if roots:
            command.add_argument(
                "--split-dir", default="splits", help="imported splits and master lists (splits)"
            )
            command.add_argument(
                "--data-root", help="VOCdevkit/VOC2012, or the folder of leftImg8bit or of images"
            )
            command.add_argument("--sbd-root", help="folder with SBD's train.txt and val.txt")
        return command

    def add_protocol(command: argparse.ArgumentParser, required: bool) -> None:
        command.add_argument("--protocol", required=required, help="name of a published split")
        command.add_argument("--fold", type=int, help="fold of a name without one (0)")

    command = add("list", run_list, "Show the published splits, or all about one.")
    add_protocol(command, required=False)
    command.add_argument("--dataset", choices=list(DATASETS))

    command = add(
        "masters", run_masters, "Make a data set's master lists from its files.", roots=True
    )
    command.add_argument("--dataset", required=True, choices=list(BASE_MASTER))

    command = add("make", run_make, "Write a published split that can be computed.", roots=True)
    add_protocol(command, required=True)
    command.add_argument("--out", help="folder to write (SPLIT_DIR/PROTOCOL)")

    command = add(
        "import", run_import, "Check the authors' file and write it as a split.", roots=True
    )
    add_protocol(command, required=False)
    command.add_argument("--file-labeled", help="the labelled list, or a pickled permutation")
    command.add_argument("--file-unlabeled", help="the unlabelled list (default: the rest)")
    command.add_argument(
        "--master",
        nargs="+",
        metavar=("NAME", "FILE"),
        help="a master list instead of a split; two files (a 1/2 pair) are interleaved",
    )
    command.add_argument("--out", help="folder to write (SPLIT_DIR/PROTOCOL)")

    command = add(
        "sample",
        run_sample,
        "Write a random labelled subset; subsets of one data set and seed are nested.",
    )
    command.add_argument("--data-root", help="folder of images, searched with sub-folders")
    command.add_argument("--list", help="list file with one image a line")
    command.add_argument("--ratio", help="labelled share, e.g. 1/8")
    command.add_argument("--count", type=int, help="labelled images")
    command.add_argument("--seed", type=int, default=0)
    command.add_argument("--rounding", choices=["floor", "ceil"], default="floor")
    command.add_argument("--nested", metavar="DIR", help="check that DIR's subset lies inside")
    command.add_argument("--out", required=True, help="folder to write")

    command = add("verify", run_verify, "Hash split folders again and name the published split.")
    command.add_argument("folder", nargs="+")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line of ``mmsemi splits``."""
    args = build_parser().parse_args(arguments)
    return args.run(args)
