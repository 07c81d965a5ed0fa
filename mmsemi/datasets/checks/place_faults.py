# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""The same image, as a file or by content, where there should be two different ones."""

from __future__ import annotations

import os.path as osp
from collections.abc import Callable, Iterator
from itertools import combinations

from ..sources import Source
from ..splits import canonical_id
from .findings import Find, Hit
from .survey import Survey


def _pairs(survey: Survey) -> Iterator[tuple[str, Source, Source]]:
    """All pairs of sources, those that draw the labelled files once more left out."""
    for first, second in combinations([s for s in survey.sources if s.pool != "labeled"], 2):
        yield f"{first.name} and {second.name}", first, second


# --- What two sources share -----------------------------------------------------------------------

Compare = Callable[[Source, Source, Survey], list[str]]


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


def same_names(first: Source, second: Source, survey: Survey) -> list[str]:
    """Pairs 'a ~ b' of equal names of different bytes: perhaps one image, saved twice."""
    known = {pair.split(" = ")[0] for pair in same_contents(first, second, survey)}
    known |= {*same_files(first, second, survey)}
    by_name = {_name(path): path for path in second.img_paths}
    paths = (path for path in dict.fromkeys(first.img_paths) if path not in known)
    return [f"{path} ~ {by_name[_name(path)]}" for path in paths if _name(path) in by_name]


def _name(path: str) -> str:
    return canonical_id(osp.basename(path))


# --- Training and held-out images -----------------------------------------------------------------


def held_out(compare: Compare) -> Find:
    """Training images that a validation or test set shares."""

    def find(survey: Survey) -> Iterator[Hit]:
        for names, first, second in _pairs(survey):
            if first.role != second.role and "train" in (first.role, second.role):
                train, other = (first, second) if first.role == "train" else (second, first)
                shared = compare(train, other, survey)
                severity = (
                    "info" if compare is same_names and _is_numbering(shared, other) else None
                )
                yield Hit(names, shared, dict(train=train.name, held_out=other.name), severity)

    return find


def _is_numbering(pairs: list[str], source: Source) -> bool:
    """Whether folders both count from 1, which share many names, or bare numbers, and no image."""
    names = [_name(pair.split(" ~ ")[0]) for pair in pairs]
    share_many = 2 * len(names) >= len({_name(path) for path in source.img_paths})
    return share_many or all(name.isdigit() for name in names)


def val_in_test(survey: Survey) -> Iterator[Hit]:
    """Images that validation and test share."""
    for names, first, second in _pairs(survey):
        if {first.role, second.role} == {"val", "test"}:
            yield Hit(
                names, same_files(first, second, survey) + same_contents(first, second, survey)
            )


# --- Training images of two sources ---------------------------------------------------------------


def labeled_in_unlabeled(compare: Compare) -> Find:
    """Labelled images among the unlabelled; further sources may well repeat the labelled ones."""

    def find(survey: Survey) -> Iterator[Hit]:
        for names, first, second in _pairs(survey):
            if first.role == second.role == "train" and "unlabeled" in (first.name, second.name):
                meant = compare is same_files and "all" in (first.pool, second.pool)
                advice = (
                    "nothing, as pool='all' says so"
                    if meant
                    else "remove them from unlabeled.img_dir, unless it is meant"
                )
                shared = compare(first, second, survey)
                yield Hit(names, shared, dict(advice=advice), "info" if meant else None)

    return find


def hidden_masks(survey: Survey) -> Iterator[Hit]:
    """Masks that a further source reads though the split leaves their images unlabelled."""
    hidden = {survey.real_path(path) for path in survey.hidden_masks}
    for source in survey.sources:
        if source.role == "train" and source.name != "labeled":
            read = [path for path in source.masks if survey.real_path(path) in hidden]
            yield Hit(source.name, read, dict(name=source.name))


# --- One source -----------------------------------------------------------------------------------


def links(survey: Survey) -> Iterator[Hit]:
    """Images of a source that are one file."""
    for source in survey.sources:
        first = {}
        pairs = [
            (first.setdefault(survey.real_path(path), path), path)
            for path in dict.fromkeys(source.img_paths)
        ]
        yield Hit(source.name, [f"{one} = {path}" for one, path in pairs if one != path])


def copies(survey: Survey) -> Iterator[Hit]:
    """Images of a source that have the same bytes."""
    for source in survey.sources:
        same = survey.copies[source.name].values()
        yield Hit(source.name, [" = ".join(paths) for paths in same if len(paths) > 1])


def masks_as_images(survey: Survey) -> Iterator[Hit]:
    """Images of a source that are masks of a data set."""
    masks = {survey.real_path(path) for path in survey.masks}
    for source in survey.sources:
        yield Hit(
            source.name, [p for real, p in survey.files[source.name].items() if real in masks]
        )
