# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Files that are missing or broken, and images that are not what training takes them for."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ..sources import Item, Source
from .findings import Find, Hit
from .scan import ImageFacts
from .survey import Survey

_ORIENTED = ("as stored", "mirrored", "turned by 180 degrees", "flipped", *["turned sideways"] * 4)


def with_note(path: str, note: object) -> str:
    """A file as an example of a finding, with what was seen in it."""
    return path if note is True or not note else f"{path} ({note})"


# --- Missing and broken files ---------------------------------------------------------------------


def missing_images(without_mask: bool) -> Find:
    """Images that do not exist: those of a list without image and mask, or all others."""

    def find(survey: Survey) -> Iterator[Hit]:
        for source in survey.sources:
            lists = sorted({part.list_file for part in source.parts if part.list_file})
            missing = [item for item in source.items if survey.is_missing("image", item.img_path)]
            chosen = [item for item in missing if _is_unknown(item, survey) == without_mask]
            values = dict(lists=", ".join(f"'{name}'" for name in lists))
            yield Hit(source.name, [item.img_path for item in chosen], values)

    return find


def _is_unknown(item: Item, survey: Survey) -> bool:
    return bool(
        item.part.list_file and item.mask_path and survey.is_missing("mask", item.mask_path)
    )


def broken(problem: str, *kinds: str) -> Find:
    """Files that could not be read.

    Args:
        problem: As in :class:`~.scan.Facts`.
        kinds: Of 'image' and 'mask'.
    """

    def find(survey: Survey) -> Iterator[Hit]:
        for kind in kinds:
            for source in survey.sources:
                paths = source.img_paths if kind == "image" else source.masks
                facts = [survey.found.get((kind, path)) for path in paths]
                examples = [
                    with_note(f.path, f.reason) for f in facts if f and f.problem == problem
                ]
                it = "it" if kind == "image" else "the pair"
                yield Hit(source.name, examples, dict(kind=kind, it=it))

    return find


def unread_images(survey: Survey) -> Iterator[Hit]:
    """Folders whose images are no ordinary picture files."""
    for _, part in survey.parts:
        yield Hit(part.img_dir, count=int(not part.has_plain_images))


# --- Images ---------------------------------------------------------------------------------------


def images(test: Callable[[ImageFacts, Item, Source], object]) -> Find:
    """Images in which a test sees something: True, or a note; ``{crop}`` is the training crop."""

    def find(survey: Survey) -> Iterator[Hit]:
        for source in survey.sources:
            seen = [(item, test(image, item, source)) for item, image in survey.images(source)]
            examples = [with_note(item.img_path, note) for item, note in seen if note]
            yield Hit(source.name, examples, dict(crop="x".join(map(str, source.crop_hw or ()))))

    return find


def looks_like_mask(image: ImageFacts, item: Item, source: Source) -> bool:
    """Whether a training image without a mask holds nothing but labels or their colours."""
    values = image.few_values
    if source.role != "train" or item.mask_path or len(values) < 2 or not source.classes:
        return False
    if isinstance(next(iter(values)), int):
        return all(v < len(source.classes) or v == source.ignore_index for v in values)
    known = {tuple(colour) for colour in source.palette}
    known |= {(grey,) * 3 for grey in (0, 255, *range(len(source.classes)))}
    known |= {(224, 224, 192)}  # the border of objects in PASCAL VOC
    return all(tuple(value) in known for value in values)


def turned(image: ImageFacts, item: Item, _: Source) -> str:
    """How a loader turns an image, and not its mask, by its EXIF tag."""
    if not item.mask_path or item.part.color_type not in ("color", "grayscale"):
        return ""
    return _ORIENTED[(image.orientation - 1) % 8] if image.orientation != 1 else ""


def smaller_than_crop(low: float, high: float) -> Find:
    """Images that fill between ``low`` and ``high`` of the crop in their smaller direction."""

    def test(image: ImageFacts, item: Item, source: Source) -> str:
        width, height = image.size_wh
        crop_height, crop_width = source.crop_hw or (1, 1)
        share = min(height / crop_height, width / crop_width)
        return f"{width}x{height}" if low <= share < high else ""

    return images(test)


def grey_among_colour(survey: Survey) -> Iterator[Hit]:
    """Grey images of a source that has colour ones."""
    for source in survey.sources:
        grey = [item.img_path for item, image in survey.images(source) if image.is_grey]
        yield Hit(source.name, grey if len(grey) < survey.stats[source.name].images else ())
