# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""The same image, as a file or by content, where there should be two different ones."""

from __future__ import annotations

import os.path as osp
from collections.abc import Callable, Iterator
from functools import partial
from itertools import combinations

from ..sources import Source
from ..splits import canonical_id
from .rules import CONTENT, FEW, NAMES, Hit, rule
from .survey import Survey


def _pairs(survey: Survey) -> Iterator[tuple[Source, Source]]:
    """All pairs of sources, those that draw the labelled files once more left out."""
    yield from combinations([s for s in survey.sources if s.pool != "labeled"], 2)


def same_files(first: Source, second: Source, survey: Survey) -> list[str]:
    """Images of the first source that are, behind links, files of the second."""
    one, two = survey.files[first.name], survey.files[second.name]
    return [path for real, path in one.items() if real in two]


def same_contents(first: Source, second: Source, survey: Survey) -> list[str]:
    """Pairs 'a = b' of different files with equal bytes."""
    one, two = survey.files[first.name], survey.files[second.name]
    twins = survey.copies[second.name]
    pairs = []
    for content, paths in survey.copies[first.name].items():
        others = [p for p in twins.get(content, ()) if survey.real_path(p) not in one]
        if others:
            pairs += [f"{p} = {others[0]}" for p in paths if survey.real_path(p) not in two]
    return pairs


Compare = Callable[[Source, Source, Survey], list[str]]

# --- Training and held-out images -----------------------------------------------------------------


def _held_out(compare: Compare, survey: Survey) -> Iterator[Hit]:
    for first, second in _pairs(survey):
        if first.role != second.role and "train" in (first.role, second.role):
            train, other = (first, second) if first.role == "train" else (second, first)
            values = dict(train=train.name, held_out=other.name)
            examples = compare(train, other, survey)
            severity = None
            if compare is _same_names and _is_numbering(examples, other):
                severity = "info"
            yield Hit(f"{first.name} and {second.name}", examples, values, severity)


rule(
    "error",
    "held-out-image-in-training",
    "a training image (source '{train}') is also a {held_out} image: the score is too high",
    "take it out of the training list or folder",
    NAMES,
)(partial(_held_out, same_files))
rule(
    "error",
    "held-out-content-in-training",
    "a training image (source '{train}') is a copy of a {held_out} image: the score is too high",
    "take it out of the training list or folder",
    FEW,
)(partial(_held_out, same_contents))


def _name(path: str) -> str:
    return canonical_id(osp.basename(path))


def _same_names(train: Source, held_out: Source, survey: Survey) -> list[str]:
    """Pairs 'a ~ b' of equal names: perhaps one image, saved twice in different ways."""
    known = {pair.split(" = ")[0] for pair in same_contents(train, held_out, survey)}
    known |= {*same_files(train, held_out, survey)}
    by_name = {_name(path): path for path in held_out.img_paths}
    paths = (path for path in dict.fromkeys(train.img_paths) if path not in known)
    return [f"{path} ~ {by_name[_name(path)]}" for path in paths if _name(path) in by_name]


def _is_numbering(pairs: list[str], held_out: Source) -> bool:
    """Whether folders both count from 1, which share many names, or bare numbers, and no image."""
    names = [_name(pair.split(" ~ ")[0]) for pair in pairs]
    return 2 * len(names) >= len({_name(path) for path in held_out.img_paths}) or all(
        name.isdigit() for name in names
    )


rule(
    "warning",
    "held-out-name-in-training",
    "a training image (source '{train}') has the name of a {held_out} image, not its bytes",
    "compare the pictures; rename them if they are different ones",
)(partial(_held_out, _same_names))


@rule(
    "warning",
    "val-image-in-test",
    "validation and test share images",
    "take them out of one of the two",
)
def _val_in_test(survey: Survey) -> Iterator[Hit]:
    for first, second in _pairs(survey):
        if {first.role, second.role} == {"val", "test"}:
            shared = [compare(first, second, survey) for compare in (same_files, same_contents)]
            yield Hit(f"{first.name} and {second.name}", sum(shared, []))


# --- Training images of two sources ---------------------------------------------------------------


def _labeled_in_unlabeled(compare: Compare, survey: Survey) -> Iterator[Hit]:
    # Further sources may well repeat the labelled images.
    for first, second in _pairs(survey):
        if first.role == second.role == "train" and "unlabeled" in (first.name, second.name):
            meant = any(s.pool == "all" for s in (first, second)) and compare is same_files
            fix = (
                "nothing, as pool='all' says so"
                if meant
                else "remove them from unlabeled.img_dir, unless it is meant"
            )
            yield Hit(
                f"{first.name} and {second.name}",
                compare(first, second, survey),
                dict(fix=fix),
                "info" if meant else None,
            )


rule(
    "warning",
    "labeled-image-among-unlabeled",
    "labelled images are used without their masks, too",
    "{fix}",
    NAMES,
)(partial(_labeled_in_unlabeled, same_files))
rule(
    "warning",
    "labeled-content-among-unlabeled",
    "an unlabelled image is a copy of a labelled one",
    "remove one of the two files",
)(partial(_labeled_in_unlabeled, same_contents))


@rule(
    "warning",
    "hidden-masks-read",
    "masks of images that the split leaves unlabelled are read",
    "set train_dataloader.dataset.sources.{name}=dict(pool='labeled', pipeline=...), unless all "
    "labels of this source may be used",
    NAMES,
)
def _hidden(survey: Survey) -> Iterator[Hit]:
    hidden = {survey.real_path(path) for path in survey.hidden_masks}
    for source in survey.sources:
        if source.role == "train" and source.name != "labeled":
            read = [path for path in source.masks if survey.real_path(path) in hidden]
            yield Hit(source.name, read, dict(name=source.name))


# --- One source -----------------------------------------------------------------------------------


@rule(
    "warning",
    "duplicate-file",
    "links to one file under different names: it counts more than once",
    "keep one of them",
    NAMES,
)
def _links(survey: Survey) -> Iterator[Hit]:
    for source in survey.sources:
        first, repeated = {}, []
        for path in dict.fromkeys(source.img_paths):
            other = first.setdefault(survey.real_path(path), path)
            if other != path:
                repeated.append(f"{other} = {path}")
        yield Hit(source.name, repeated)


@rule(
    "warning",
    "duplicate-content",
    "files with the same bytes under different names: they count twice",
    "keep one of them, with the better mask",
    CONTENT,
)
def _copies(survey: Survey) -> Iterator[Hit]:
    for source in survey.sources:
        same = survey.copies[source.name].values()
        yield Hit(source.name, [" = ".join(paths) for paths in same if len(paths) > 1])


@rule(
    "error",
    "image-is-mask",
    "a mask of the data set is taken for an image",
    "point img_dir at a folder that holds images only, or correct img_suffix",
    NAMES,
)
def _masks_as_images(survey: Survey) -> Iterator[Hit]:
    masks = {survey.real_path(path) for path in survey.masks}
    for source in survey.sources:
        yield Hit(
            source.name, [p for real, p in survey.files[source.name].items() if real in masks]
        )
