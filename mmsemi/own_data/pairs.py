# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Which mask belongs to which image, by their names."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..datasets.files import IMAGE_SUFFIXES
from ..errors import DataError

_MASK_WORDS = (
    "masks?|labels?|labelids|labeltrainids|gt|gtfine|groundtruth|seg|segmentation|segm|"
    "annotations?|annot|instances?|l"
)
_IMAGE_WORDS = "images?|img|leftimg8bit|photos?|rgb|raw|sat"
_MASK_AFFIX = re.compile(rf"(?:[_\-. ](?:{_MASK_WORDS}))+$|^(?:(?:{_MASK_WORDS})[_\-. ])+", re.I)
_IMAGE_AFFIX = re.compile(rf"(?:[_\-. ](?:{_IMAGE_WORDS}))+$|^(?:(?:{_IMAGE_WORDS})[_\-. ])+", re.I)


@dataclass
class Pairs:
    """Images with their masks.

    Attributes:
        pairs: (image, mask), sorted by image.
        images: The others, without a mask.
        masks: The others, without an image.
        rule: How names were compared, for people.
    """

    pairs: list[tuple[str, str]]
    images: list[str]
    masks: list[str]
    rule: str


def find_images(folder: str, option: str, without: Sequence[str] = ()) -> list[str]:
    """The pictures below a folder, sorted.

    Args:
        folder: Searched with all folders in it; hidden files are left out.
        option: That named it, for messages.
        without: Folders inside that are not searched.

    Raises:
        DataError: There is no such folder, or no picture in it.
    """
    if not os.path.isdir(folder):
        raise DataError(
            f"{option} {folder}: there is no such folder (searched from '{os.getcwd()}')"
        )
    left_out = {os.path.realpath(one) for one in without}
    found = []
    for parent, folders, files in os.walk(folder, followlinks=True):
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith((".", "__MACOSX"))
            and os.path.realpath(os.path.join(parent, name)) not in left_out
        )
        names = (n for n in files if n.lower().endswith(IMAGE_SUFFIXES) and not n.startswith("."))
        found += [Path(parent, name).as_posix() for name in names]
    if not found:
        raise DataError(f"{option} {folder} holds no picture ({', '.join(IMAGE_SUFFIXES)})")
    bad = next((path for path in found if re.search(r"[\t\n\r]", path)), None)
    if bad is not None:
        raise DataError(
            f"{option} {folder}: the name {bad!r} has a tab or line break, rename the file"
        )
    return sorted(found)


def find_pairs(images_dir: str, masks_dir: str, options: tuple[str, str]) -> Pairs:
    """Pair the pictures of two folders, which may be one, or lie in each other.

    Args:
        images_dir: Folder of images.
        masks_dir: Folder of masks.
        options: That named them, for messages.

    Raises:
        DataError: A folder is missing or empty, nothing fits, or a name fits twice.
    """
    masks = find_images(
        masks_dir, options[1], [images_dir] if _is_inside(images_dir, masks_dir) else []
    )
    if os.path.realpath(images_dir) == os.path.realpath(masks_dir):
        images = [path for path in masks if not _MASK_AFFIX.search(Path(path).stem)]
        masks = [path for path in masks if _MASK_AFFIX.search(Path(path).stem)]
        if not images or not masks:
            raise DataError(
                f"{options[0]} and {options[1]} are the same folder '{images_dir}', where no names such as "
                "1.jpg and 1_mask.png tell images from masks: put the masks into a folder of their own"
            )
    else:
        inside = [masks_dir] if _is_inside(masks_dir, images_dir) else []
        images = find_images(images_dir, options[0], inside)
    return pair_files(images, masks, images_dir, masks_dir, options)


def _is_inside(folder: str, other: str) -> bool:
    inner, outer = os.path.realpath(folder), os.path.realpath(other)
    return inner != outer and inner.startswith(outer.rstrip(os.sep) + os.sep)


def pair_files(
    images: Sequence[str],
    masks: Sequence[str],
    images_dir: str,
    masks_dir: str,
    options: tuple[str, str] = ("--images", "--masks"),
) -> Pairs:
    """Pair files by the first rule that finds most of the masks an image.

    The rules: the path below the folder without suffix; the name alone; the name without words such as
    ``_mask`` and ``_image``.

    Raises:
        DataError: No rule finds a pair, or two files have one name.
    """

    def below(root: str) -> Callable[[str], str]:
        return lambda path: os.path.splitext(os.path.relpath(path, root))[0].replace("\\", "/")

    def stem(path: str) -> str:
        return Path(path).stem

    rules: list[tuple[str, Callable[[str], str], Callable[[str], str]]] = [
        ("by path, whatever the suffix", below(images_dir), below(masks_dir)),
        ("by name, whatever folder and suffix", stem, stem),
        (
            "by name without words such as _mask",
            lambda path: _IMAGE_AFFIX.sub("", stem(path)),
            lambda path: _MASK_AFFIX.sub("", stem(path)),
        ),
    ]
    tried = [(rule, *_match(images, masks, of_image, of_mask)) for rule, of_image, of_mask in rules]
    rule, pairs, doubles = max(tried, key=lambda one: len(one[1]))  # the first of equals
    if not pairs and not doubles:
        raise DataError(
            f"no mask has the name of an image: {options[0]} has e.g. '{images[0]}', {options[1]} e.g. "
            f"'{masks[0]}': name each mask as its image"
        )
    if doubles:
        raise DataError(
            f"'{doubles[0]}' and '{doubles[1]}' would be one image's or mask's name ({rule}): rename or "
            "remove one"
        )
    paired = {path for pair in pairs for path in pair}
    return Pairs(
        sorted(pairs),
        [path for path in images if path not in paired],
        [path for path in masks if path not in paired],
        rule,
    )


def _match(
    images: Sequence[str],
    masks: Sequence[str],
    of_image: Callable[[str], str],
    of_mask: Callable[[str], str],
) -> tuple[list[tuple[str, str]], list[str]]:
    """The pairs by a rule, and two files of one name if there are any among them."""
    by_key: dict[str, list[str]] = {}
    for path in images:
        by_key.setdefault(of_image(path), []).append(path)
    masks_of: dict[str, list[str]] = {}
    for path in masks:
        masks_of.setdefault(of_mask(path), []).append(path)
    shared = [key for key in masks_of if key in by_key]
    for key in shared:
        for files in (by_key[key], masks_of[key]):
            if len(files) > 1:
                return [], files[:2]
    return [(by_key[key][0], masks_of[key][0]) for key in shared], []


def write_lists(
    lists: Mapping[str, str],
    labeled: Sequence[tuple[str, str]],
    val: Sequence[tuple[str, str]],
    unlabeled: Sequence[str],
) -> None:
    """Write the lists of pairs and of unlabelled images.

    Args:
        lists: 'labeled', 'val' and, where there are any, 'unlabeled' -> file.
        labeled: (image, mask) for training.
        val: (image, mask) for validation.
        unlabeled: Images.
    """
    lines = dict(
        labeled=[f"{image}\t{mask}" for image, mask in labeled],
        val=[f"{image}\t{mask}" for image, mask in val],
        unlabeled=list(unlabeled),
    )
    for name, file in lists.items():
        path = Path(file)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{line}\n" for line in lines[name]), encoding="utf-8")
