# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""What is wrong between files: folders, list files, classes, and images in two places."""

from __future__ import annotations

import os.path as osp
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath

from mmengine import fileio

from ..datasets.files import IMAGE_SUFFIXES, resolve_files
from ..datasets.splits import canonical_id, read_id_list
from .findings import Finding, group
from .source_rules import Found, Statistics
from .sources import Origin, Source

# --- Folders and lists ----------------------------------------------------------------------------


def check_folders(sources: Sequence[Source]) -> list[Finding]:
    """Masks without an image, and images that a folder holds and the data set leaves out."""
    findings, seen = [], set()
    for source in sources:
        for origin in source.origins:
            # With a list, other files in the folder are the rule (PASCAL VOC).
            if origin.list_file or not origin.img_dir or not origin.mask_dir or origin in seen:
                continue
            seen.add(origin)
            findings += _check_folder(source.name, origin)
    return findings


def _list(folder: str, origin: Origin) -> list[str]:
    if not fileio.isdir(folder, backend_args=origin.backend_args):
        return []
    names = fileio.list_dir_or_file(
        folder, list_dir=False, recursive=True, backend_args=origin.backend_args
    )
    return sorted(names)


def _check_folder(name: str, origin: Origin) -> list[Finding]:
    files = _list(origin.img_dir, origin)
    masks = [m for m in _list(origin.mask_dir, origin) if m.endswith(origin.mask_suffix)]
    images = {f.removesuffix(origin.img_suffix) for f in files if f.endswith(origin.img_suffix)}
    orphans = [m for m in masks if m.removesuffix(origin.mask_suffix) not in images]
    mask_files = {osp.join(origin.mask_dir, m) for m in masks}
    others = [
        osp.join(origin.img_dir, f)
        for f in files
        if f.lower().endswith(IMAGE_SUFFIXES) and not f.endswith(origin.img_suffix)
    ]
    others = [path for path in others if path not in mask_files]
    return [
        *group("warning", "mask-without-image", name, [osp.join(origin.mask_dir, m) for m in orphans],
               f"a mask in '{origin.mask_dir}' has no image in '{origin.img_dir}'",
               f"add the image with the suffix '{origin.img_suffix}', or remove the mask"),
        *group("warning", "image-other-suffix", name, others,
               f"left out, since the data set takes '*{origin.img_suffix}' only",
               "rename the files, or correct img_suffix"),
    ]  # fmt: skip


def check_list_file(path: str, columns: bool = False) -> list[Finding]:
    """What is wrong with the lines of a list file.

    Args:
        path: The file.
        columns: Whether its reader accepts a second column.
    """
    try:
        data = Path(path).read_bytes()
        text = data.decode("utf-8")
    except OSError as error:
        reason = error.strerror or type(error).__name__
        return group(
            "error", "list-missing", path, [path], reason, "add the list, or correct its path"
        )
    except UnicodeDecodeError:
        return group("error", "list-not-text", path, [path], "the list file is no UTF-8 text",
                     "save it as plain UTF-8 text with one image a line")  # fmt: skip
    lines = text.removeprefix("\ufeff").splitlines()
    named = [(number, line.split()) for number, line in enumerate(lines, 1) if line.strip()]
    counts = Counter(words[0] for _, words in named)
    last = {words[0]: number for number, words in named}
    twice = [f"line {last[word]}: {word}" for word, count in counts.items() if count > 1]
    blank = [f"line {number}" for number, line in enumerate(lines, 1) if not line.strip()]
    wide = [f"line {number}: {' '.join(words)}" for number, words in named if len(words) > 1]
    return [
        *group("error", "list-byte-order-mark", path, [path] if text.startswith("\ufeff") else [],
               "the file starts with a byte order mark, which becomes part of the first name",
               "save it as UTF-8 without BOM"),
        *group("error", "list-empty", path, [] if named else [path], "the list names no image",
               "write one image a line"),
        *group("error", "list-two-columns", path, [] if columns else wide,
               "several names in a line: the data set reads them as one name with blanks",
               "keep the first column, without suffix"),
        *group("warning", "list-duplicate-line", path, twice, "an image is listed more than once",
               "remove the repeated lines"),
        *group("warning", "list-blank-line", path, [] if columns else blank,
               "the data set reads an empty line as an image without a name",
               "remove the empty lines"),
        *group("info", "list-crlf", path, [path] if b"\r" in data else [],
               "the lines end in CR LF: read correctly here, not by every other tool",
               "save it with Unix line ends, e.g. `sed -i 's/\\r$//'`"),
    ]  # fmt: skip


def check_lists(
    list_files: Sequence[str], split: Mapping | None, sources: Sequence[Source] = ()
) -> list[Finding]:
    """All list files, and whether the two lists of a ``ListSplit`` share images."""
    split = split or {}
    own = [split[key] for key in ("labeled", "unlabeled") if split.get(key)]
    # Split lists, and lists of images without masks, are read by our own reader.
    ours = {*own, *(o.list_file for s in sources for o in s.origins if o.mask_dir is None)}
    findings = [f for path in list_files for f in check_list_file(path, columns=path in ours)]
    if len(own) == 2 and not split.get("allow_overlap"):
        findings += group(
            "error", "labeled-unlabeled-overlap", "split", _in_both(*own),
            f"images are labelled in '{own[0]}' and unlabelled in '{own[1]}'",
            "remove them from one list, or set split.allow_overlap=True",
        )  # fmt: skip
    return findings


def _in_both(first: str, second: str) -> list[str]:
    """Images of two lists, which may write a path in different ways (``a/1.png``, ``1``)."""
    by_name: dict[str, list[str]] = {}
    try:
        for name in read_id_list(first):
            by_name.setdefault(canonical_id(name), []).append(name)
        names = read_id_list(second)
    except (OSError, ValueError):  # reported by check_list_file
        return []
    return sorted(n for n in names if any(_same(n, o) for o in by_name.get(canonical_id(n), ())))


def _same(first: str, second: str) -> bool:
    """Whether one path ends in the other."""
    one, two = (
        PurePosixPath(p.replace("\\", "/").lstrip("/")).parent.parts for p in (first, second)
    )
    shared = min(len(one), len(two))
    return shared == 0 or one[-shared:] == two[-shared:]


# --- Classes --------------------------------------------------------------------------------------


def check_classes(
    sources: Sequence[Source], stats: Mapping[str, Statistics], head_classes: int | None
) -> list[Finding]:
    """Classes that never occur, and a model with another number of classes than its data."""
    findings = []
    for source in sources:
        if source.name == "unlabeled":
            continue  # it has the labelled source's classes
        if head_classes and source.classes and len(source.classes) != head_classes:
            findings.append(
                Finding(
                    "error",
                    "classes-differ-from-model",
                    source.name,
                    1,
                    f"the data set has {len(source.classes)} classes, decode_head.num_classes is "
                    f"{head_classes}",
                    "make metainfo.classes and decode_head.num_classes agree",
                )  # fmt: skip
            )
    train = [s for s in sources if s.role == "train" and stats[s.name].masks]
    val = next((s for s in sources if s.role == "val" and stats[s.name].masks), None)
    if train:
        occurs = sum(stats[s.name].occurs for s in train if s.classes == train[0].classes)
        absent = [name for name, count in zip(train[0].classes, occurs) if not count]
        in_val = set()
        if val is not None:
            in_val = {n for n, count in zip(val.classes, stats[val.name].occurs) if count}
        shown = [f"{name}{' (occurs in val)' if name in in_val else ''}" for name in absent]
        findings += group(
            "warning", "class-never-labelled", train[0].name, shown,
            "no mask of the labelled images has the class, so it is never learned",
            "choose other labelled images (another split.seed or list), or drop the class",
        )  # fmt: skip
    if val is not None:
        absent = [name for name, count in zip(val.classes, stats[val.name].occurs) if not count]
        findings += group(
            "info", "class-not-in-val", val.name, absent,
            "the class has no pixel in the validation masks: its IoU says nothing",
            "nothing, if it is meant",
        )  # fmt: skip
    return findings


# --- Images in two places -------------------------------------------------------------------------


def check_overlap(sources: Sequence[Source], found: Found) -> list[Finding]:
    """The same image, as a file or by content, where there should be two different ones."""
    findings = []
    files, contents = {}, {}
    mask_paths = [item.mask_path for source in sources for item in source.items if item.mask_path]
    masks = set(_real_paths(mask_paths).values())
    sources = [
        source for source in sources if source.pool != "labeled"
    ]  # its files are "labeled"'s
    for source in sources:
        files[source.name], contents[source.name] = _keys(source, found)
        findings += _duplicates(source, contents[source.name])
        findings += _masks_as_images(source, files[source.name], masks)
    for position, first in enumerate(sources):
        for second in sources[position + 1 :]:
            same_file, same_content = _common(first, second, files, contents)
            findings += _judge(first, second, same_file, same_content)
    return findings


def _real_paths(paths: Iterable[str]) -> dict[str, str]:
    """Path -> path behind links; a missing file, or one of another storage, is its own."""
    return {path: real or path for path, real in resolve_files(paths).items()}


def _keys(source: Source, found: Found) -> tuple[dict[str, str], dict[str, list[str]]]:
    """Real path -> path, and content hash -> paths, of the images of a source."""
    files, contents = {}, defaultdict(list)
    for path, real in _real_paths(item.img_path for item in source.items).items():
        files[real] = path
        facts = found.get(("image", path))
        if facts is not None and facts.content:
            contents[facts.content].append(path)
    return files, contents


def _common(
    first: Source, second: Source, files: Mapping, contents: Mapping
) -> tuple[list[str], list[str]]:
    """Files of both sources, and pairs 'a = b' of equal content in different files."""
    one, two = files[first.name], files[second.name]
    same_file = [one[real] for real in one if real in two]
    pairs = []
    for content, paths in contents[first.name].items():
        for path in paths:
            twins = [
                p for p in contents[second.name].get(content, []) if osp.realpath(p) not in one
            ]
            if twins and osp.realpath(path) not in two:
                pairs.append(f"{path} = {twins[0]}")
    return same_file, pairs


def _judge(
    first: Source, second: Source, same_file: list[str], same_content: list[str]
) -> list[Finding]:
    names = f"{first.name} and {second.name}"
    if "train" in (first.role, second.role) and first.role != second.role:
        train, held_out = (first, second) if first.role == "train" else (second, first)
        what = f"a training image (source '{train.name}')"
        return [
            *group("error", "held-out-image-in-training", names, same_file,
                   f"{what} is also a {held_out.name} image: the score is too high",
                   "take it out of the training list or folder"),
            *group("error", "held-out-content-in-training", names, same_content,
                   f"{what} is a copy of a {held_out.name} image: the score is too high",
                   "take it out of the training list or folder"),
            *_same_names(names, train, held_out, same_file, same_content),
        ]  # fmt: skip
    if first.role == second.role == "train":
        if "unlabeled" not in (first.name, second.name):
            return []  # further sources may well repeat the labelled images
        unlabeled = first if first.name == "unlabeled" else second
        meant = unlabeled.pool == "all"
        return [
            *group("info" if meant else "warning", "labeled-image-among-unlabeled", names, same_file,
                   "labelled images are used without their masks, too",
                   "nothing, as pool='all' says so" if meant else
                   "remove them from unlabeled.img_dir, unless it is meant"),
            *group("warning", "labeled-content-among-unlabeled", names, same_content,
                   "an unlabelled image is a copy of a labelled one",
                   "remove one of the two files"),
        ]  # fmt: skip
    return group("warning", "val-image-in-test", names, [*same_file, *same_content],
                 "validation and test share images", "take them out of one of the two")  # fmt: skip


def _same_names(
    names: str, train: Source, held_out: Source, same_file: list[str], same_content: list[str]
) -> list[Finding]:
    """Equal names of different files: perhaps one image, saved twice in different ways."""
    known = {*same_file, *(pair.split(" = ")[0] for pair in same_content)}
    by_id = {canonical_id(osp.basename(i.img_path)): i.img_path for i in held_out.items}
    shared = []
    for path in dict.fromkeys(item.img_path for item in train.items):
        twin = by_id.get(canonical_id(osp.basename(path)))
        if twin is not None and path not in known:
            shared.append((canonical_id(osp.basename(path)), f"{path} ~ {twin}"))
    # Folders that both count from 1 share many names, or bare numbers, and no image.
    is_numbering = 2 * len(shared) >= len(by_id) or all(name.isdigit() for name, _ in shared)
    return group(
        "info" if is_numbering else "warning", "held-out-name-in-training", names,
        [pair for _, pair in shared],
        f"a training image (source '{train.name}') has the name of a {held_out.name} image, not its bytes",
        "compare the pictures; rename them if they are different ones",
    )  # fmt: skip


def _duplicates(source: Source, contents: Mapping[str, list[str]]) -> list[Finding]:
    repeated = [" = ".join(paths) for paths in contents.values() if len(paths) > 1]
    return group(
        "warning", "duplicate-content", source.name, repeated,
        "files with the same bytes under different names: they count twice",
        "keep one of them, with the better mask",
    )  # fmt: skip


def _masks_as_images(source: Source, files: Mapping[str, str], masks: set[str]) -> list[Finding]:
    bad = [path for real, path in files.items() if real in masks or real in source.known_masks]
    return group(
        "error", "image-is-mask", source.name, bad,
        "a mask of the data set is taken for an image",
        "point img_dir at a folder that holds images only, or correct img_suffix",
    )  # fmt: skip
