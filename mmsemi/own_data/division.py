# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Which image is for training, for validation, and without its mask; copies are left out."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..engine.diagnosis import FEW_FOR_VALIDATION
from ..errors import DataError
from .holdout import copies_of, find_scenes, groups_of_copies, hold_out, scene_names, words_of
from .kinds import missed_kinds
from .pictures import Looks, look_at

Say = Callable[[str, str], None]
Pair = tuple[str, str]


@dataclass
class Division:
    """Which file is for what.

    Attributes:
        labeled: (image, mask) for training.
        val: (image, mask) for validation.
        unlabeled: Images.
    """

    labeled: list[Pair]
    val: list[Pair]
    unlabeled: list[str]


def divide(
    pairs: Sequence[Pair],
    folder: str,
    val_pairs: Sequence[Pair] | None,
    unlabeled: Sequence[tuple[str, str]],
    classes_of: Sequence[set[int]],
    classes: Sequence[str],
    say: Say,
    progress: Callable[[int, int], None] | None = None,
) -> Division:
    """Divide the images.

    Args:
        pairs: (image, mask).
        folder: That the images lie below.
        val_pairs: For validation; None takes some of ``pairs``.
        unlabeled: (image, folder that it was found in).
        classes_of: Classes in each mask of ``pairs``.
        classes: All classes.
        say: Takes the topic and the text of what was found and decided.
        progress: Told how many images were looked at.

    Raises:
        DataError: There are too few labelled images.
    """
    images, others = [image for image, _ in pairs], [image for image, _ in unlabeled]
    if len(images) < 2 and val_pairs is None:
        raise DataError(
            f"there is 1 labelled image, '{images[0]}', and none for validation: label a second one, or give "
            "--val-images and --val-masks"
        )
    looks = look_at([*images, *others], use_network=False, progress=progress)
    own, rest = looks.chosen(range(len(images))), looks.chosen(range(len(images), len(looks.paths)))
    if val_pairs is not None:
        held = look_at([image for image, _ in val_pairs], use_network=False)
        train, left_out = _without_held_out(own, held, say), set()
    else:
        train, val, left_out = _hold_out(own, folder, unlabeled, classes_of, say)
        held, val_pairs = own.chosen(val), [pairs[index] for index in val]
    if len(val_pairs) < FEW_FOR_VALIDATION:
        say(
            "note", f"validation by {len(val_pairs)} of {len(pairs)} labelled images: a rough score"
        )
    labeled = own.chosen(train)
    for what, known in (("a validation image", held), ("a labelled image", labeled)):
        same = {i: j for i, j in copies_of(rest, known).items() if i not in left_out}
        if same:
            first = min(same)
            say(
                "decided",
                f"{len(same)} unlabelled images are left out since each looks like {what}, e.g. "
                f"'{rest.paths[first]}' like '{known.paths[same[first]]}'",
            )
            left_out |= set(same)
    kept = rest.chosen([index for index in range(len(others)) if index not in left_out])
    _warn(labeled, kept, set().union(*(classes_of[index] for index in train)), classes, say)
    return Division([pairs[index] for index in train], list(val_pairs), kept.paths)


def _without_held_out(own: Looks, held: Looks, say: Say) -> list[int]:
    """The labelled images that are no copies of validation images."""
    same = copies_of(own, held)
    if same:
        first = min(same)
        say(
            "decided",
            f"{len(same)} labelled images are left out since each looks like a validation image, e.g. "
            f"'{own.paths[first]}' like '{held.paths[same[first]]}'",
        )
    train = [index for index in range(len(own.paths)) if index not in same]
    if not train:
        raise DataError(
            "every labelled image looks like a validation image: give other --val-images, or leave them out"
        )
    return train


def _hold_out(
    own: Looks,
    folder: str,
    unlabeled: Sequence[tuple[str, str]],
    classes_of: Sequence[set[int]],
    say: Say,
) -> tuple[list[int], list[int], set[int]]:
    """Indices for training and validation, and those of unlabelled images of held-out scenes."""
    scenes = find_scenes(scene_names(own.paths, folder))
    copies = groups_of_copies(own)
    split = hold_out(scenes, classes_of, copies)
    how = (
        f"whole scenes by their names: {', '.join(split.scenes[:6])}"
        if split.scenes
        else f"at random with seed {split.seed}"
    )
    say("decided", f"{len(split.val)} of {len(own.paths)} pairs are for validation, {how}")
    train = split.train
    if scenes:
        held = {copies[index] for index in split.val}
        twins = [index for index in train if copies[index] in held]
        if twins and len(twins) < len(train):
            say("decided", f"{len(twins)} labelled images that look like those are left out")
            train = [index for index in train if index not in twins]
    left_out = {
        number
        for number, (path, root) in enumerate(unlabeled)
        if _is_of(words_of(os.path.splitext(os.path.relpath(path, root))[0]), split.scenes)
    }
    if left_out:
        say("decided", f"{len(left_out)} unlabelled images of those scenes are left out")
    return train, split.val, left_out


def _is_of(words: Sequence[str], scenes: Sequence[str]) -> bool:
    """Whether a name has the words of a scene, one behind the other."""
    text = f" {' '.join(words)} "
    return any(f" {scene} " in text for scene in scenes)


def _warn(
    labeled: Looks, unlabeled: Looks, found: set[int], classes: Sequence[str], say: Say
) -> None:
    for index, name in enumerate(classes):
        if index not in found:
            say("warning", f"no training mask has the class '{name}': it is never learned")
    for kind in missed_kinds(labeled, unlabeled):
        say(
            "warning",
            f"{kind.share:.0%} of the unlabelled images are of a kind that {kind.labeled} of "
            f"{len(labeled.paths)} labelled images shows, so pseudo-labels will be wrong there: label some, "
            f"e.g. {', '.join(kind.examples)} (mmsemi suggest-labels chooses)",
        )
