# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Files that are missing or broken, and images that are not what training takes them for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from ..sources import Item, Source
from .rules import NAMES, Hit, rule
from .scan import ImageFacts
from .survey import Survey

_ORIENTED = ("as stored", "mirrored", "turned by 180 degrees", "flipped", *["turned sideways"] * 4)


def with_note(path: str, note: str | bool) -> str:
    """A file as an example of a finding, with what was seen in it."""
    return path if note is True or not note else f"{path} ({note})"


# --- Missing and broken files ---------------------------------------------------------------------


def _is_unknown(survey: Survey, item: Item) -> bool:
    """Whether a list names something that has neither an image nor a mask."""
    return bool(item.part.list_file and item.mask_path) and survey.is_missing(
        "mask", item.mask_path
    )


def _missing_images(unknown: bool, survey: Survey) -> Iterator[Hit]:
    for source in survey.sources:
        lists = sorted({part.list_file for part in source.parts if part.list_file})
        missing = [item for item in source.items if survey.is_missing("image", item.img_path)]
        yield Hit(
            source.name,
            [item.img_path for item in missing if _is_unknown(survey, item) == unknown],
            dict(lists=", ".join(f"'{name}'" for name in lists)),
        )


rule(
    "error",
    "list-unknown-id",
    "{lists} names images that have neither an image nor a mask",
    "correct the line, or img_suffix and data_prefix if it is every line",
    NAMES,
)(partial(_missing_images, True))
rule(
    "error",
    "image-missing",
    "the image file does not exist",
    "add the file, or take it out of the list",
    NAMES,
)(partial(_missing_images, False))


def _broken(kind: str, problem: str, survey: Survey) -> Iterator[Hit]:
    """Files that could not be read; their masks go with them."""
    for source in survey.sources:
        paths = [item.img_path if kind == "image" else item.mask_path for item in source.items]
        facts = [survey.found.get((kind, path)) for path in paths]
        examples = [with_note(f.path, f.reason) for f in facts if f and f.problem == problem]
        pair = "it" if kind == "image" else "the pair"
        yield Hit(source.name, examples, dict(kind=kind, pair=pair))


@rule(
    "error",
    "file-empty",
    "the {kind} file has 0 bytes",
    "copy or download it again, or remove {pair}",
)
def _empty(survey: Survey) -> Iterator[Hit]:
    yield from _broken("image", "empty", survey)
    yield from _broken("mask", "empty", survey)


for _kind in ("image", "mask"):
    rule(
        "error",
        f"{_kind}-unreadable",
        "the {kind} cannot be read",
        "correct the file's permissions or kind",
    )(partial(_broken, _kind, "unreadable"))
    rule(
        "error",
        f"{_kind}-corrupt",
        "the {kind} cannot be decoded",
        "copy or download it again, or remove {pair}",
    )(partial(_broken, _kind, "corrupt"))


@rule(
    "info",
    "images-not-read",
    "the pipeline reads images with a loader of its own: they were not opened",
    "nothing; train for an iteration to see that they load",
)
def _not_read(survey: Survey) -> Iterator[Hit]:
    for _, part in survey.parts:
        yield Hit(part.img_dir, count=int(not part.has_plain_images))


# --- Images ---------------------------------------------------------------------------------------

# What a rule sees in an image: nothing (False, ''), something (True), or something with a note.
Test = Callable[[ImageFacts, Item, Source], "str | bool"]


def _hits(test: Test, survey: Survey) -> Iterator[Hit]:
    for source in survey.sources:
        seen = [(item.img_path, test(facts, item, source)) for item, facts in survey.images(source)]
        values: dict[str, Any] = dict(crop="x".join(map(str, source.crop_hw or ())))
        yield Hit(source.name, [with_note(path, note) for path, note in seen if note], values)


def image_rule(severity: str, code: str, text: str, fix: str) -> Callable[[Test], Test]:
    """A rule that sees one image at a time; the function says what is wrong with it."""

    def register(test: Test) -> Test:
        rule(severity, code, text, fix)(partial(_hits, test))
        return test

    return register


@image_rule(
    "error",
    "image-looks-like-mask",
    "the image holds only class indices or the palette's colours",
    "point unlabeled.img_dir at a folder that holds images only",
)
def _looks_like_mask(image: ImageFacts, item: Item, source: Source) -> bool:
    values = image.few_values
    if source.role != "train" or item.mask_path or len(values) < 2 or not source.classes:
        return False
    if isinstance(next(iter(values)), int):
        return all(v < len(source.classes) or v == source.ignore_index for v in values)
    known = {tuple(colour) for colour in source.palette}
    known |= {(grey,) * 3 for grey in (0, 255, *range(len(source.classes)))}
    known |= {(224, 224, 192)}  # the border of objects in PASCAL VOC
    return all(tuple(value) in known for value in values)


@image_rule(
    "warning",
    "image-turned-by-exif",
    "the loader turns the image by its EXIF tag and leaves the mask as it is",
    "turn the pixels once and remove the tag, e.g. with `mogrify -auto-orient`",
)
def _turned(image: ImageFacts, *_) -> str:
    return _ORIENTED[(image.orientation - 1) % 8] if image.orientation != 1 else ""


@image_rule(
    "warning",
    "image-16-bit",
    "more than 8 bits a channel: the loader keeps the upper 8",
    "convert the images to 8 bit with a scaling of your choice",
)
def _deep(image: ImageFacts, *_) -> bool:
    return image.bits > 8


@image_rule(
    "warning",
    "image-alpha",
    "the image has a transparency channel, which the loader drops",
    "blend it with a background and save it as RGB",
)
def _alpha(image: ImageFacts, *_) -> str:
    return image.mode if image.has_alpha else ""


def _share_of_crop(image: ImageFacts, source: Source) -> tuple[float, str]:
    """How much of the crop the smaller direction fills, and the size as a note."""
    width, height = image.size_wh
    crop_height, crop_width = source.crop_hw or (1, 1)
    return min(height / crop_height, width / crop_width), f"{width}x{height}"


@image_rule(
    "warning",
    "image-tiny",
    "less than half of the training crop {crop} in one direction: mostly padding",
    "remove these images, or lower crop_size",
)
def _tiny(image: ImageFacts, item: Item, source: Source) -> str:
    share, size = _share_of_crop(image, source)
    return size if share < 0.5 else ""


@image_rule(
    "info",
    "image-smaller-than-crop",
    "smaller than the training crop {crop}: padded",
    "nothing, if it is meant; else lower crop_size",
)
def _small(image: ImageFacts, item: Item, source: Source) -> str:
    share, size = _share_of_crop(image, source)
    return size if 0.5 <= share < 1 else ""


@rule("info", "image-grey", "grey images among colour ones", "nothing, if it is meant")
def _grey(survey: Survey) -> Iterator[Hit]:
    for source in survey.sources:
        grey = [item.img_path for item, image in survey.images(source) if image.is_grey]
        few = len(grey) < survey.stats[source.name].images
        yield Hit(source.name, grey if few else [])
