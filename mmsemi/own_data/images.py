# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Whether images can be trained on as they are, and how they must be loaded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import cv2

from ..datasets.checks.scan import ImageFacts, scan_image
from ..errors import DataError

# 16-bit images whose largest value is below this keep less than 5 bits in the loader.
_MIN_16_BIT = 8192


@dataclass
class Labeled:
    """Facts about images with masks.

    Attributes:
        facts: Of each image.
        ignores_exif: Masks fit the images as they are stored, not as their EXIF tag turns them; None where
            no tag turns any.
        notes: What was seen, for people.
    """

    facts: list[ImageFacts]
    ignores_exif: bool | None
    notes: list[str]


def described(facts: Sequence[ImageFacts]) -> str:
    """Sizes and formats, for people."""
    sizes = sorted((f.size_wh for f in facts), key=lambda wh: wh[0] * wh[1])
    low, high = ("x".join(map(str, sizes[i])) for i in (0, -1))
    kinds = Counter(f"{f.mode} {f.bits} bit" for f in facts)
    size = low if low == high else f"{low} to {high}"
    return f"{size}, {', '.join(f'{kind} ({count})' for kind, count in kinds.most_common())}"


def check_images(
    pairs: Sequence[tuple[str, str]], mask_sizes: Sequence[tuple[int, int]]
) -> Labeled:
    """Read images that have masks, and compare their sizes.

    Args:
        pairs: Image and mask.
        mask_sizes: (width, height) of each mask.

    Raises:
        DataError: A file is broken, of another size than its mask, or loaders would spoil it.
    """
    facts = [scan_image(image) for image, _ in pairs]
    for one in facts:
        if one.problem:
            raise DataError(
                f"image '{one.path}' is {one.problem} {one.reason}".rstrip()
                + ": copy it again, or remove it with its mask"
            )
    ignores_exif = _fit(pairs, facts, mask_sizes)
    notes = []
    deep = [one for one in facts if one.bits > 8]
    if deep:
        high = max(int(cv2.imread(f.path, cv2.IMREAD_UNCHANGED).max()) for f in deep[:20])
        if high < _MIN_16_BIT:
            raise DataError(
                f"the images have 16 bits and no value above {high}, and loaders keep the upper 8 bits, which "
                'are nearly black: stretch them to 8 bits, e.g. python -c "import cv2,sys; '
                f"[cv2.imwrite(p, (cv2.imread(p, -1) / {high} * 255).astype('uint8')) for p in sys.argv[1:]]\" *.png"
            )
        notes.append("16-bit images: the upper 8 bits are used")
    if any(one.has_alpha for one in facts):
        notes.append("images with a transparency channel: it is not used")
    if ignores_exif:
        notes.append("EXIF turns some images and the masks are not turned: the tag is ignored")
    elif ignores_exif is False:
        notes.append("EXIF turns some images, and their masks are turned already")
    return Labeled(facts, ignores_exif, notes)


def _fit(
    pairs: Sequence[tuple[str, str]],
    facts: Sequence[ImageFacts],
    mask_sizes: Sequence[tuple[int, int]],
) -> bool | None:
    """Whether masks fit the images as stored, where EXIF turns some; None where it does not.

    Raises:
        DataError: Sizes differ, or they cannot tell.
    """
    for_stored, for_upright, unclear = [], [], []
    for (image, mask), one, size in zip(pairs, facts, mask_sizes):
        fits_stored, fits_upright = size == (one.width, one.height), size == one.size_wh
        if not fits_stored and not fits_upright:
            raise DataError(
                f"mask '{mask}' is {size[0]}x{size[1]} pixels, its image '{image}' "
                f"{one.size_wh[0]}x{one.size_wh[1]}: pair the right files, or make the mask again at the "
                "image's size"
            )
        if one.orientation == 1:
            continue
        if fits_stored and fits_upright:
            unclear.append(image)
        else:
            (for_stored if fits_stored else for_upright).append(image)
    advice = "turn the pixels once and remove the tags: mogrify -auto-orient"
    if for_stored and for_upright:
        raise DataError(
            f"an EXIF tag turns '{for_stored[0]}', and not its mask, and '{for_upright[0]}' with its mask: "
            f"{advice}, for those whose mask is turned wrongly"
        )
    if unclear and not for_stored and not for_upright:
        raise DataError(
            f"an EXIF tag turns or mirrors '{unclear[0]}' ({len(unclear)} such images), and their sizes do not "
            f"tell whether the masks are turned, too. Look at one; if they are not, {advice}, and turn the "
            "masks; if they are, remove the tags alone: exiftool -Orientation= "
        )
    return bool(for_stored) if for_stored or for_upright else None
