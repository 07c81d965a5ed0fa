# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""What is wrong inside one source: its files, labels and sizes, and its statistics."""

from __future__ import annotations

import os
import os.path as osp
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from .findings import Finding, group
from .scan import Facts, ImageFacts, MaskFacts
from .sources import Item, Source

Found = Mapping[tuple[str, str], Facts]

# A mask with less label than this is most likely no good mask.
MOSTLY_VOID = 0.9
# A source with less label than this learns from less than it seems to.
SOURCE_VOID = 0.5
_ORIENTED = ("as stored", "mirrored", "turned by 180 degrees", "flipped", *["turned sideways"] * 4)


@dataclass
class Statistics:
    """Numbers about one source.

    Attributes:
        images: Readable images.
        masks: Readable index masks.
        sizes: (width, height) of the images -> how many.
        modes: Pixel format of the images -> how many.
        mask_modes: Pixel format of the masks -> how many.
        pixels: (K,) labelled pixels of each class.
        occurs: (K,) masks that have each class.
        void: Pixels without a label.
        outside: Value that is no class -> pixels.
        stored_zero: Whether a mask stores the value 0.
    """

    images: int = 0
    masks: int = 0
    sizes: Counter = field(default_factory=Counter)
    modes: Counter = field(default_factory=Counter)
    mask_modes: Counter = field(default_factory=Counter)
    pixels: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    occurs: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    void: int = 0
    outside: Counter = field(default_factory=Counter)
    stored_zero: bool = False

    @property
    def void_share(self) -> float:
        """Share of mask pixels without a label."""
        total = self.void + int(self.pixels.sum()) + sum(self.outside.values())
        return self.void / total if total else 0.0


def class_histogram(
    mask: MaskFacts, table: np.ndarray, num_classes: int, ignore_index: int
) -> tuple[np.ndarray, int, dict[int, int]]:
    """Pixels of each class (K,), pixels without a label, and pixels of values that are no class.

    Args:
        mask: Facts of an index mask.
        table: (256,) what each stored value becomes when it is loaded.
        num_classes: K.
        ignore_index: Value of pixels without a label.
    """
    pixels, void, outside = np.zeros(num_classes, np.int64), 0, {}
    for stored, count in mask.histogram.items():
        value = int(table[stored]) if 0 <= stored < 256 else stored
        if value == ignore_index:
            void += count
        elif 0 <= value < num_classes:
            pixels[value] += count
        else:
            outside[stored] = outside.get(stored, 0) + count
    return pixels, void, outside


def check_source(source: Source, found: Found) -> tuple[Statistics, list[Finding]]:
    """The statistics of a source, and what is wrong with its files."""
    stats = Statistics()
    findings = _check_images(source, found, stats)
    findings += _check_masks(source, found, stats)
    return stats, findings


# --- Images ---------------------------------------------------------------------------------------


def _check_images(source: Source, found: Found, stats: Statistics) -> list[Finding]:
    bad: dict[str, list[str]] = defaultdict(list)
    turned: Counter = Counter()
    for item in source.items:
        facts = found.get(("image", item.img_path))
        path = item.img_path
        if facts is None:  # an image that must not be opened, or of another kind of file
            continue
        if facts.problem == "missing":
            has_mask = item.mask_path is None or osp.exists(item.mask_path)
            in_list = item.origin.list_file and not has_mask
            bad["unknown" if in_list else "missing"].append(path)
            continue
        if facts.problem:
            bad[facts.problem].append(f"{path}{f' ({facts.reason})' if facts.reason else ''}")
            continue
        assert isinstance(facts, ImageFacts)
        stats.images += 1
        width, height = facts.size_wh
        stats.sizes[width, height] += 1
        stats.modes[facts.mode] += 1
        if facts.is_grey:
            bad["grey"].append(path)
        if facts.has_alpha:
            bad["alpha"].append(f"{path} ({facts.mode})")
        if facts.bits > 8:
            bad["16 bit"].append(path)
        if facts.orientation != 1:
            turned[facts.orientation] += 1
            bad["turned"].append(f"{path} ({_ORIENTED[(facts.orientation - 1) % 8]})")
        if source.crop_hw:
            share = min(height / source.crop_hw[0], width / source.crop_hw[1])
            if share < 1:
                bad["tiny" if share < 0.5 else "small"].append(f"{path} ({width}x{height})")
        if source.role == "train" and item.mask_path is None and _looks_like_mask(facts, source):
            bad["mask"].append(path)
    listed = sorted({o.list_file for o in source.origins if o.list_file})
    lists = ", ".join(f"'{name}'" for name in listed)
    crop = "x".join(map(str, source.crop_hw or ()))
    name, few = source.name, 0 < len(bad["grey"]) < stats.images
    return [
        *group("error", "list-unknown-id", name, bad["unknown"],
               f"{lists} names images that have neither an image nor a mask",
               "correct the line, or img_suffix and data_prefix if it is every line"),
        *group("error", "image-missing", name, bad["missing"], "the image file does not exist",
               "add the file, or take it out of the list"),
        *group("error", "file-empty", name, bad["empty"], "the image file has 0 bytes",
               "copy or download it again, or remove it"),
        *group("error", "image-unreadable", name, bad["unreadable"], "the image cannot be read",
               "correct the file's permissions or kind"),
        *group("error", "image-corrupt", name, bad["corrupt"], "the image cannot be decoded",
               "copy or download it again, or remove it"),
        *group("error", "image-looks-like-mask", name, bad["mask"],
               "the image holds only class indices or the palette's colours",
               "point unlabeled.img_dir at a folder that holds images only"),
        *group("warning", "image-turned-by-exif", name, bad["turned"],
               "the loader turns the image by its EXIF tag and leaves the mask as it is",
               "turn the pixels once and remove the tag, e.g. with `mogrify -auto-orient`"),
        *group("warning", "image-16-bit", name, bad["16 bit"],
               "more than 8 bits a channel: the loader keeps the upper 8",
               "convert the images to 8 bit with a scaling of your choice"),
        *group("warning", "image-alpha", name, bad["alpha"],
               "the image has a transparency channel, which the loader drops",
               "blend it with a background and save it as RGB"),
        *group("warning", "image-tiny", name, bad["tiny"],
               f"less than half of the training crop {crop} in one direction: mostly padding",
               "remove these images, or lower crop_size"),
        *group("info", "image-smaller-than-crop", name, bad["small"],
               f"smaller than the training crop {crop}: padded",
               "nothing, if it is meant; else lower crop_size"),
        *group("info", "image-grey", name, bad["grey"] if few else [],
               "grey images among colour ones", "nothing, if it is meant"),
    ]  # fmt: skip


def _looks_like_mask(facts: ImageFacts, source: Source) -> bool:
    """Whether an image without a mask holds labels: class indices, or colours of the palette."""
    values = facts.few_values
    if len(values) < 2 or not source.classes:
        return False
    if isinstance(next(iter(values)), int):
        return all(v < len(source.classes) or v == source.ignore_index for v in values)
    known = {tuple(colour) for colour in source.palette}
    known |= {(grey,) * 3 for grey in (0, 255, *range(len(source.classes)))}
    known |= {(224, 224, 192)}  # the border of objects in PASCAL VOC
    return all(tuple(value) in known for value in values)


# --- Masks ----------------------------------------------------------------------------------------


def _check_masks(source: Source, found: Found, stats: Statistics) -> list[Finding]:
    bad: dict[str, list[str]] = defaultdict(list)
    count = len(source.classes)
    stats.pixels, stats.occurs = np.zeros(count, np.int64), np.zeros(count, np.int64)
    coloured: list[MaskFacts] = []
    for item in source.items:
        facts = found.get(("mask", item.mask_path))
        if facts is None:
            continue
        path = item.mask_path
        if facts.problem:
            image = found.get(("image", item.img_path))
            # Neither file: the line in the list is wrong, which is reported with the images.
            if facts.problem == "missing" and image is not None and image.problem == "missing":
                continue
            bad[facts.problem].append(f"{path}{f' ({facts.reason})' if facts.reason else ''}")
            continue
        assert isinstance(facts, MaskFacts)
        _compare_sizes(item, facts, found, bad)
        expands = facts.mode.startswith("P") and item.origin.mask_backend == "cv2"
        if expands:
            bad["expanded"].append(path)
        if facts.is_colour:
            bad["colour"].append(f"{path} ({facts.mode})")
            coloured.append(facts)
        if facts.file_format == "JPEG":
            bad["jpeg"].append(path)
        if expands or facts.is_colour or not count:
            continue
        stats.masks += 1
        stats.mask_modes[facts.mode] += 1
        stats.stored_zero |= 0 in facts.histogram
        pixels, void, outside = class_histogram(
            facts, item.origin.label_table, count, source.ignore_index
        )
        stats.pixels += pixels
        stats.occurs += pixels > 0
        stats.void += void
        stats.outside.update(outside)
        if outside:
            values = ", ".join(f"{v}: {n} px" for v, n in sorted(outside.items())[:4])
            bad["outside"].append(f"{path} ({values})")
        total = int(pixels.sum()) + void + sum(outside.values())
        if void == total:
            bad["all void"].append(path)
        elif void > MOSTLY_VOID * total:
            bad["mostly void"].append(f"{path} ({void / total:.1%})")
    name, ignore = source.name, source.ignore_index
    outside = sorted(stats.outside)
    values = ", ".join(map(str, outside[:8])) + (", ..." if len(outside) > 8 else "")
    findings = [
        *group("error", "mask-missing", name, bad["missing"],
               f"{len(bad['missing'])} of {len(source.items)} images have no mask",
               _fix_missing(source, bad["missing"])),
        *group("error", "file-empty", name, bad["empty"], "the mask file has 0 bytes",
               "copy or download it again, or remove the pair"),
        *group("error", "mask-unreadable", name, bad["unreadable"], "the mask cannot be read",
               "correct the file's permissions or kind"),
        *group("error", "mask-corrupt", name, bad["corrupt"], "the mask cannot be decoded",
               "copy or download it again, or remove the pair"),
        *group("error", "size-mismatch", name, bad["size"], "image and mask differ in size",
               "pair the right files, or make the masks again at the images' size"),
        *group("error", "mask-is-colour", name, bad["colour"],
               "a mask must hold one class index a pixel, these are colour pictures",
               _fix_colour(source, coloured)),
        *group("error", "mask-palette-expanded", name, bad["expanded"],
               "LoadAnnotations(imdecode_backend='cv2') turns palette masks into colours",
               "remove imdecode_backend from LoadAnnotations (the default keeps the indices)"),
        *group("error", "mask-value-outside", name, bad["outside"],
               f"values {values} are neither a class (0..{count - 1}) nor void ({ignore})",
               _fix_outside(source, stats)),
        *group("warning", "mask-is-jpeg", name, bad["jpeg"],
               "JPEG changes values at edges, so that indices become other classes",
               "make the masks again as PNG"),
        *group("warning", "mask-all-void", name, bad["all void"], "no pixel has a label",
               "label the image, or leave it out (its image may go to the unlabelled ones)"),
        *group("warning", "mask-mostly-void", name, bad["mostly void"],
               f"more than {MOSTLY_VOID:.0%} of the pixels have no label",
               f"look at them: is {ignore} (void) meant there?"),
    ]  # fmt: skip
    if stats.masks and stats.void_share > SOURCE_VOID:
        findings.append(
            Finding(
                "warning",
                "void-share-high",
                name,
                stats.masks,
                f"{stats.void_share:.1%} of all mask pixels have no label",
                f"check ignore_index={ignore} and reduce_zero_label",
            )  # fmt: skip
        )
    return findings


def _compare_sizes(item: Item, mask: MaskFacts, found: Found, bad: dict[str, list[str]]) -> None:
    image = found.get(("image", item.img_path))
    if image is None or image.problem or mask.size_wh == image.size_wh:
        return
    stored = (image.width, image.height)
    note = ", the image is turned by its EXIF tag" if mask.size_wh == stored else ""
    sizes = [f"{w}x{h}" for w, h in (image.size_wh, mask.size_wh)]
    bad["size"].append(f"{item.img_path} (image {sizes[0]}, mask {sizes[1]}{note})")


def _fix_missing(source: Source, missing: list[str]) -> str:
    if missing and len(missing) == len(source.items):
        folder = source.items[0].origin.mask_dir or osp.dirname(missing[0])
        if not osp.isdir(folder):
            return f"the folder '{folder}' does not exist: correct data_prefix.seg_map_path"
        other = next((name for name in sorted(os.listdir(folder))), None)
        seen = f"'{folder}' holds e.g. '{other}'" if other else f"'{folder}' is empty"
        return f"{seen}: correct seg_map_suffix='{source.items[0].origin.mask_suffix}'"
    return "add the masks, or move the images to the unlabelled ones"


def _fix_colour(source: Source, masks: list[MaskFacts]) -> str:
    equal = all(mask.equal_channels for mask in masks)
    values = {value for mask in masks for colour in mask.colours for value in colour}
    if equal and all(v < len(source.classes) or v == source.ignore_index for v in values):
        return "the channels are equal and hold class indices: save one of them as a grey PNG"
    known = {tuple(colour) for colour in source.palette} | {(0, 0, 0), (255, 255, 255)}
    if all(mask.colours and mask.colours <= known for mask in masks):
        return "the colours are the palette's: replace each by its class index, save as grey PNG"
    return "replace each colour by its class index and save a single-channel or palette PNG"


def _fix_outside(source: Source, stats: Statistics) -> str:
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
