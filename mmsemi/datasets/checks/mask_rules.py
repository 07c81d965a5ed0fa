# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Masks that are missing or hold no labels, and classes that nothing shows."""

from __future__ import annotations

import os
import os.path as osp
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from ..sources import Item, Source
from .image_rules import with_note
from .rules import FEW, NAMES, Hit, rule
from .scan import MaskFacts
from .survey import MaskCount, Statistics, Survey, is_expanded

# A mask with less label than this is most likely no good mask.
MOSTLY_VOID = 0.9
# A source with less label than this learns from less than it seems to.
SOURCE_VOID = 0.5


@rule("error", "mask-missing", "{count} of {total} images have no mask", "{advice}", NAMES)
def _missing(survey: Survey) -> Iterator[Hit]:
    for source in survey.sources:
        # Without the image, too, the line of the list is wrong, which is a rule of its own.
        missing = [
            item.mask_path
            for item in source.items
            if item.mask_path
            and survey.is_missing("mask", item.mask_path)
            and not survey.is_missing("image", item.img_path)
        ]
        values = dict(count=len(missing), total=len(source))
        yield Hit(source.name, missing, dict(values, advice=_advise_missing(source, missing)))


def _advise_missing(source: Source, missing: list[str]) -> str:
    if missing and len(missing) == len(source):
        folder = source.parts[0].mask_dir or osp.dirname(missing[0])
        if not osp.isdir(folder):
            return f"the folder '{folder}' does not exist: correct data_prefix.seg_map_path"
        other = next((name for name in sorted(os.listdir(folder))), None)
        seen = f"'{folder}' holds e.g. '{other}'" if other else f"'{folder}' is empty"
        return f"{seen}: correct seg_map_suffix='{source.parts[0].mask_suffix}'"
    return "add the masks, or move the images to the unlabelled ones"


@rule(
    "error",
    "size-mismatch",
    "image and mask differ in size",
    "pair the right files, or make the masks again at the images' size",
)
def _sizes(survey: Survey) -> Iterator[Hit]:
    for source in survey.sources:
        images = {item.img_path: image for item, image in survey.images(source)}
        examples = []
        for item, mask in survey.read_masks(source):
            image = images.get(item.img_path)
            if image is None or mask.size_wh == image.size_wh:
                continue
            turned = mask.size_wh == (image.width, image.height)
            sizes = [f"{w}x{h}" for w, h in (image.size_wh, mask.size_wh)]
            note = ", the image is turned by its EXIF tag" if turned else ""
            examples.append(f"{item.img_path} (image {sizes[0]}, mask {sizes[1]}{note})")
        yield Hit(source.name, examples)


# --- Kinds of files -------------------------------------------------------------------------------


def _masks(
    test: Callable[[MaskFacts, Item], object], survey: Survey
) -> Iterator[tuple[Source, list[MaskFacts]]]:
    for source in survey.sources:
        yield source, [mask for item, mask in survey.read_masks(source) if test(mask, item)]


@rule(
    "error",
    "mask-is-colour",
    "a mask must hold one class index a pixel, these are colour pictures",
    "{advice}",
)
def _colour(survey: Survey) -> Iterator[Hit]:
    for source, masks in _masks(lambda mask, item: mask.is_colour, survey):
        examples = [with_note(mask.path, mask.mode) for mask in masks]
        yield Hit(source.name, examples, dict(advice=_advise_colour(source, masks)))


def _advise_colour(source: Source, masks: list[MaskFacts]) -> str:
    equal = all(mask.equal_channels for mask in masks)
    values = {value for mask in masks for colour in mask.colours for value in colour}
    if equal and all(v < len(source.classes) or v == source.ignore_index for v in values):
        return "the channels are equal and hold class indices: save one of them as a grey PNG"
    known = {tuple(colour) for colour in source.palette} | {(0, 0, 0), (255, 255, 255)}
    if all(mask.colours and mask.colours <= known for mask in masks):
        return "the colours are the palette's: replace each by its class index, save as grey PNG"
    return "replace each colour by its class index and save a single-channel or palette PNG"


@rule(
    "error",
    "mask-palette-expanded",
    "LoadAnnotations(imdecode_backend='cv2') turns palette masks into colours",
    "remove imdecode_backend from LoadAnnotations (the default keeps the indices)",
)
def _expanded(survey: Survey) -> Iterator[Hit]:
    for source, masks in _masks(lambda mask, item: is_expanded(mask, item.part), survey):
        yield Hit(source.name, [mask.path for mask in masks])


@rule(
    "warning",
    "mask-is-jpeg",
    "JPEG changes values at edges, so that indices become other classes",
    "make the masks again as PNG",
)
def _jpeg(survey: Survey) -> Iterator[Hit]:
    for source, masks in _masks(lambda mask, item: mask.file_format == "JPEG", survey):
        yield Hit(source.name, [mask.path for mask in masks])


# --- Values ---------------------------------------------------------------------------------------


@rule(
    "error",
    "mask-value-outside",
    "values {values} are neither a class (0..{last}) nor void ({ignore})",
    "{advice}",
)
def _outside(survey: Survey) -> Iterator[Hit]:
    for source in survey.sources:
        stats, examples = survey.stats[source.name], []
        for item, _, _, outside in stats.masks:
            seen = ", ".join(f"{v}: {n} px" for v, n in sorted(outside.items())[:4])
            examples += [with_note(item.mask_path, seen)] if seen else []
        found = sorted(stats.outside)
        yield Hit(
            source.name,
            examples,
            dict(
                values=", ".join(map(str, found[:8])) + (", ..." if len(found) > 8 else ""),
                last=len(source.classes) - 1,
                ignore=source.ignore_index,
                advice=_advise_outside(source, stats),
            ),
        )


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


def _void(test: Callable[[MaskCount], object], survey: Survey) -> Iterator[Hit]:
    for source in survey.sources:
        seen = [(m.item.mask_path, test(m)) for m in survey.stats[source.name].masks]
        examples = [with_note(path, note) for path, note in seen if note]
        yield Hit(source.name, examples, dict(ignore=source.ignore_index))


rule(
    "warning",
    "mask-all-void",
    "no pixel has a label",
    "label the image, or leave it out (its image may go to the unlabelled ones)",
)(partial(_void, lambda mask: mask.void == mask.total))
rule(
    "warning",
    "mask-mostly-void",
    f"more than {MOSTLY_VOID:.0%} of the pixels have no label",
    "look at them: is {ignore} (void) meant there?",
)(
    partial(
        _void,
        lambda mask: (
            MOSTLY_VOID * mask.total < mask.void < mask.total and f"{mask.void / mask.total:.1%}"
        ),
    )
)


@rule(
    "warning",
    "void-share-high",
    "{share:.1%} of all mask pixels have no label",
    "check ignore_index={ignore} and reduce_zero_label",
)
def _void_share(survey: Survey) -> Iterator[Hit]:
    for source in survey.sources:
        stats = survey.stats[source.name]
        values = dict(share=stats.void_share, ignore=source.ignore_index)
        count = len(stats.masks) if stats.void_share > SOURCE_VOID else 0
        yield Hit(source.name, values=values, count=count)


# --- Classes --------------------------------------------------------------------------------------


@rule(
    "error",
    "classes-differ-from-model",
    "the data set has {data} classes, decode_head.num_classes is {model}",
    "make metainfo.classes and decode_head.num_classes agree",
    NAMES,
)
def _other_model(survey: Survey) -> Iterator[Hit]:
    for source in survey.sources:
        data, model = len(source.classes), survey.num_classes
        differs = data and model and data != model
        if differs and source.name != "unlabeled":  # which has the labelled source's classes
            yield Hit(source.name, values=dict(data=data, model=model), count=1)


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


@rule(
    "warning",
    "class-never-labelled",
    "no pixel in {read} of {total} masks has the class, so it is never learned",
    "choose other labelled images (another split.seed or list), or drop the class",
    FEW,
)
def _never_labelled(survey: Survey) -> Iterator[Hit]:
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


@rule(
    "info",
    "class-not-in-val",
    "the class has no pixel in the validation masks: its IoU says nothing",
    "nothing, if it is meant",
)
def _not_in_val(survey: Survey) -> Iterator[Hit]:
    for source in _with_masks(survey, "val"):
        yield Hit(source.name, _absent(survey, [source]))
