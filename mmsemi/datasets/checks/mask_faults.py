# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Masks that are missing or hold no labels, and classes that nothing shows."""

from __future__ import annotations

import os
import os.path as osp
from collections.abc import Callable, Iterator, Sequence

from ..files import JPEG_SUFFIXES
from ..sources import Item, Source
from .findings import Find, Hit
from .image_faults import with_note
from .scan import MaskFacts
from .survey import MaskCount, Statistics, Survey

# A mask with less label than this is most likely no good mask.
MOSTLY_VOID = 0.9
# A source with less label than this learns from less than it seems to.
SOURCE_VOID = 0.5


def missing_masks(survey: Survey) -> Iterator[Hit]:
    """Masks that do not exist; without the image, too, the list is wrong, another rule's matter."""
    for source in survey.sources:
        missing = [
            item.mask_path
            for item in source.items
            if item.mask_path
            and survey.is_missing("mask", item.mask_path)
            and not survey.is_missing("image", item.img_path)
        ]
        values = dict(count=len(missing), total=len(source.items))
        yield Hit(source.name, missing, dict(values, advice=_advise_missing(source, missing)))


def _advise_missing(source: Source, missing: list[str]) -> str:
    if missing and len(missing) == len(source.items):
        folder = source.parts[0].mask_dir or osp.dirname(missing[0])
        if not osp.isdir(folder):
            return f"the folder '{folder}' does not exist: correct data_prefix.seg_map_path"
        other = next((name for name in sorted(os.listdir(folder))), None)
        seen = f"'{folder}' holds e.g. '{other}'" if other else f"'{folder}' is empty"
        return f"{seen}: correct seg_map_suffix='{source.parts[0].mask_suffix}'"
    return "add the masks, or move the images to the unlabelled ones"


def other_sizes(survey: Survey) -> Iterator[Hit]:
    """Pairs of an image and a mask of different sizes."""
    for source in survey.sources:
        images = {item.img_path: image for item, image in survey.images(source)}
        examples = []
        for item, mask in survey.read_masks(source):
            image = images.get(item.img_path)
            if image is None or mask.size_wh == image.size_wh:
                continue
            is_turned = mask.size_wh == (image.width, image.height)
            sizes = [f"{w}x{h}" for w, h in (image.size_wh, mask.size_wh)]
            note = ", the image is turned by its EXIF tag" if is_turned else ""
            examples.append(f"{item.img_path} (image {sizes[0]}, mask {sizes[1]}{note})")
        yield Hit(source.name, examples)


# --- Kinds of files -------------------------------------------------------------------------------


def masks(test: Callable[[MaskFacts, Item], object]) -> Find:
    """Mask files of which a test is true."""

    def find(survey: Survey) -> Iterator[Hit]:
        for source in survey.sources:
            bad = [mask.path for item, mask in survey.read_masks(source) if test(mask, item)]
            yield Hit(source.name, bad)

    return find


def colour_masks(survey: Survey) -> Iterator[Hit]:
    """Colour pictures in the place of masks."""
    for source in survey.sources:
        bad = [mask for _, mask in survey.read_masks(source) if mask.is_colour]
        examples = [with_note(mask.path, mask.mode) for mask in bad]
        yield Hit(source.name, examples, dict(advice=_advise_colour(source, bad)))


def _advise_colour(source: Source, masks: list[MaskFacts]) -> str:
    equal = all(mask.equal_channels for mask in masks)
    values = {value for mask in masks for colour in mask.colours for value in colour}
    if equal and all(v < len(source.classes) or v == source.ignore_index for v in values):
        return "the channels are equal and hold class indices: save one of them as a grey PNG"
    known = {tuple(colour) for colour in source.palette} | {(0, 0, 0), (255, 255, 255)}
    if all(mask.colours and mask.colours <= known for mask in masks):
        return "the colours are the palette's: replace each by its class index, save as grey PNG"
    return "replace each colour by its class index and save a single-channel or palette PNG"


def jpeg_masks(survey: Survey) -> Iterator[Hit]:
    """Masks in JPEG, by their name or, of those that were read, their content."""
    for source in survey.sources:
        read = {mask.path for _, mask in survey.read_masks(source) if mask.file_format == "JPEG"}
        bad = [
            item.mask_path
            for item in source.items
            if item.part.has_plain_masks
            and (item.mask_path in read or item.mask_path.lower().endswith(JPEG_SUFFIXES))
        ]
        yield Hit(source.name, bad)


# --- Values ---------------------------------------------------------------------------------------


def counted(test: Callable[[MaskCount], object]) -> Find:
    """Index masks in whose pixel counts a test sees something: True, or a note."""

    def find(survey: Survey) -> Iterator[Hit]:
        for source in survey.sources:
            stats, last = survey.stats[source.name], len(source.classes) - 1
            seen = [(mask.path, test(mask)) for mask in stats.masks]
            examples = [with_note(path, note) for path, note in seen if note]
            outside = sorted(stats.outside)
            shown = ", ".join(map(str, outside[:8])) + (", ..." if len(outside) > 8 else "")
            values = dict(outside=shown, last=last, ignore=source.ignore_index)
            yield Hit(source.name, examples, dict(values, advice=_advise_outside(source, stats)))

    return find


def values_outside(mask: MaskCount) -> str:
    """Values of a mask that are no class, with their pixels."""
    return ", ".join(f"{value}: {n} px" for value, n in sorted(mask.outside.items())[:4])


def _advise_outside(source: Source, stats: Statistics) -> str:
    count, values = len(source.classes), set(stats.outside)
    if values == {count} and not stats.stored_zero:
        return "the masks count from 1: set reduce_zero_label=True in the data set"
    if 255 in values and source.ignore_index != 255:
        return f"255 is void in most data sets: set ignore_index=255 (it is {source.ignore_index})"
    if len(values) == 1:
        return f"map the value to a class or to {source.ignore_index}, or add its class to metainfo"
    return (
        f"correct the classes in metainfo (it has {count}), map the values, or save indices in the "
        "place of grey levels"
    )


def mostly_void(mask: MaskCount) -> str:
    """The share without a label, of a mask that has few but some."""
    is_most = MOSTLY_VOID * mask.total < mask.void < mask.total
    return f"{mask.void / mask.total:.1%}" if is_most else ""


def high_void_share(survey: Survey) -> Iterator[Hit]:
    """Sources most of whose mask pixels have no label."""
    for source in survey.sources:
        stats = survey.stats[source.name]
        values = dict(share=stats.void_share, ignore=source.ignore_index)
        count = len(stats.masks) if stats.void_share > SOURCE_VOID else 0
        yield Hit(source.name, values=values, count=count)


# --- Classes ---------------------------------------------------------------------------------------


def other_classes(survey: Survey) -> Iterator[Hit]:
    """Sources with another number of classes than the model."""
    for source in survey.sources:
        data, model = len(source.classes), survey.num_classes
        differs = data and model and data != model
        if differs and source.name != "unlabeled":  # which has the labelled source's classes
            values = dict(data=data, model=model, setting=survey.classes_setting)
            yield Hit(source.name, values=values, count=1)


def with_masks(survey: Survey) -> list[Source]:
    """Sources whose masks are opened."""
    return [source for source in survey.sources if source.masks]


def _with_masks(survey: Survey, role: str) -> list[Source]:
    """Sources of a role with masks that were read, those that draw others' masks again left out."""
    return [
        source
        for source in survey.sources
        if source.role == role and source.pool != "labeled" and survey.stats[source.name].masks
    ]


def _absent(survey: Survey, sources: Sequence[Source]) -> list[str]:
    """Classes of the first source that no mask of the sources has."""
    occurs = sum(survey.stats[source.name].occurs for source in sources)
    return [name for name, count in zip(sources[0].classes, occurs) if not count]


def never_labelled(survey: Survey) -> Iterator[Hit]:
    """Classes that no training mask has, of those that were read."""
    train, val = _with_masks(survey, "train"), _with_masks(survey, "val")
    if not train:
        return
    same = [source for source in train if source.classes == train[0].classes]
    in_val = set(val[0].classes) - set(_absent(survey, val)) if val else set()
    absent = [
        f"{name} (occurs in val)" if name in in_val else name for name in _absent(survey, same)
    ]
    read = sum(len(survey.stats[source.name].masks) for source in same)
    yield Hit(train[0].name, absent, dict(read=read, total=sum(map(len, same))))


def one_class_and_void(survey: Survey) -> Iterator[Hit]:
    """Training masks with one class and void alone, as where the object is stored as the void value."""
    for source in _with_masks(survey, "train")[:1]:
        stats, classes = survey.stats[source.name], source.classes
        absent = _absent(survey, [source])
        if stats.void and 0 < len(absent) == len(classes) - 1 and not stats.outside:
            found = next(i for i, name in enumerate(classes) if name not in absent)
            values = dict(found=found, ignore=source.ignore_index)
            values |= dict(missing=", ".join(absent[:3]), meant=classes.index(absent[0]))
            yield Hit(source.name, [m.path for m in stats.masks if m.void], values)


def not_in_val(survey: Survey) -> Iterator[Hit]:
    """Classes that no validation mask has."""
    for source in _with_masks(survey, "val"):
        yield Hit(source.name, _absent(survey, [source]))
