# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""One picture of a training batch, as the model will see it.

The batch comes from the config's own data set and sampler and goes through its own preprocessor, so
that the sheet cannot show anything else than training does. No network is built.

Shape suffixes: N images, C channels, H rows, W columns, K classes.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from mmengine.dataset import pseudo_collate
from mmseg.registry import DATA_SAMPLERS, MODELS
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor, nn
from torch.utils.data import Dataset

from ..datasets.semi_dataset import seeded
from ..errors import ConfigError, DataError
from ..models.preprocessor import merge_preprocessors
from .denormalize import denormalize

MIN_TILE, MAX_TILE = 140, 240  # px, width of a tile
LINE = 17  # px, height of a line of text
GAP = 6
_BACKGROUND, _INK, _PALE = (255, 255, 255), (30, 30, 30), (110, 110, 110)
_HATCH = (235, 235, 235), (150, 150, 150)
_VALID = np.array((208, 232, 208), np.uint8)


@dataclass
class Column:
    """One column of the sheet.

    Attributes:
        title: What it shows.
        pictures: RGB pictures (H, W, 3) uint8 by row; None leaves the place empty.
        captions: A line below each picture.
    """

    title: str
    pictures: list[np.ndarray | None]
    captions: list[str] = field(default_factory=list)


# --- The batch ------------------------------------------------------------------------------------


def load_branches(config: Mapping, dataset: Dataset) -> tuple[dict, nn.Module]:
    """The preprocessor's output for the first training batch, and the preprocessor.

    Args:
        config: Config with ``model`` and ``train_dataloader``.
        dataset: Its training set.
    """
    loader, model = config["train_dataloader"], config.get("model") or {}
    settings = dict(loader.get("sampler") or dict(type="DefaultSampler", shuffle=True))
    settings["seed"] = settings.get("seed") or 0
    segmentor = model.get("segmentor")
    if segmentor is None:
        preprocessing = model.get("data_preprocessor")
    else:
        inner = segmentor.get("data_preprocessor") if isinstance(segmentor, Mapping) else None
        preprocessing = merge_preprocessors(inner, model.get("data_preprocessor"))
    if not preprocessing:
        raise ConfigError("the config has no model.data_preprocessor, which makes the batch")
    with seeded(0), torch.no_grad():
        sampler = DATA_SAMPLERS.build(dict(settings, dataset=dataset))
        draws = list(itertools.islice(iter(sampler), int(loader.get("batch_size") or 1)))
        batch = pseudo_collate([dataset[draw] for draw in draws])
        preprocessor = MODELS.build(preprocessing)
        return preprocessor(batch, training=True), preprocessor


def hatch(height: int, width: int) -> np.ndarray:
    """Diagonal stripes (H, W, 3), for pixels without a label or without an image."""
    stripe = (np.add.outer(np.arange(height), np.arange(width)) // 5) % 2
    return np.array(_HATCH, np.uint8)[stripe]


def paint_mask(
    labels_HW: np.ndarray, palette: Sequence[Sequence[int]], image_HW3: np.ndarray | None = None
) -> np.ndarray:
    """Labels in the palette's colours, hatched where they are no class.

    Args:
        labels_HW: Integer labels.
        palette: Colour of each class.
        image_HW3: Shines through if it is given.
    """
    is_class = labels_HW < len(palette)
    table = np.array(palette, np.uint8).reshape(-1, 3)
    painted = table[np.where(is_class, labels_HW, 0)]
    if image_HW3 is not None:
        painted = (0.5 * painted + 0.5 * image_HW3).astype(np.uint8)
        return np.where(is_class[..., None], painted, image_HW3)
    return np.where(is_class[..., None], painted, hatch(*labels_HW.shape))


def _name(sample) -> str:
    path = str(sample.metainfo.get("img_path", ""))
    return path.replace("\\", "/").rsplit("/", 1)[-1]


def _labeled_columns(
    branch: str, x: Tensor, samples: Sequence, palette: Sequence, rows: int, preprocessor: nn.Module
) -> list[Column]:
    pictures = list(denormalize(x[:rows], preprocessor))
    title = "labelled image" if branch == "sup" else f"{branch} image"
    columns = [Column(title, pictures, [_name(sample) for sample in samples[:rows]])]
    if palette and all("gt_sem_seg" in sample for sample in samples[:rows]):
        labels = [s.gt_sem_seg.data[0].cpu().numpy() for s in samples[:rows]]
        void = [f"{(mask >= len(palette)).mean():.0%} void" for mask in labels]
        columns += [
            Column("mask", [paint_mask(mask, palette) for mask in labels], void),
            Column("both", [paint_mask(m, palette, p) for m, p in zip(labels, pictures)]),
        ]
    return columns


def _unlabeled_columns(
    inputs: Mapping, samples: Sequence, rows: int, preprocessor: nn.Module
) -> list[Column]:
    """Weak view, partner of a mix, every student view, and which pixels are valid.

    The student's views are stacked view by view, and the recipe of a mix covers all of them.
    """
    weak, student, recipe = inputs["unsup_teacher"], inputs["unsup_student"], inputs.get("mix")
    views = getattr(preprocessor, "num_student_views", 1)
    count = len(student) // views
    names = [_name(sample) for sample in samples]
    valid = inputs.get("valid")
    if recipe is None:
        shown, kind = list(range(count))[:rows], "student's view"
        columns = [_weak_column("weak view (teacher)", weak, shown, names, preprocessor)]
    else:
        shown, kind = recipe.first.tolist()[: min(rows, count)], "mixed view (student)"
        partners = recipe.second.tolist()[: min(rows, count)]
        columns = [
            _weak_column("weak view, first", weak, shown, names, preprocessor),
            _weak_column("weak view, second", weak, partners, names, preprocessor),
        ]
        valid = None if valid is None else recipe.apply(valid)
    for view in range(views):
        start = view * count
        x = student[start : start + len(shown)]
        note = "the weak view itself" if recipe is None and torch.equal(x, weak[shown]) else ""
        number = f" {view + 1}" if views > 1 else ""
        columns.append(
            Column(f"{kind}{number}", list(denormalize(x, preprocessor)), [note] * len(x))
        )
        # Each mixed view has boxes, and so padding, of its own; plain views share it.
        if valid is not None and (recipe is not None or view == views - 1):
            number = number if recipe is not None else ""
            own = valid[start:] if recipe is not None else valid
            columns.append(_valid_column(f"valid pixels{number}", own[: len(shown)]))
    return columns


def _weak_column(
    title: str, weak: Tensor, shown: list[int], names: list[str], preprocessor: nn.Module
) -> Column:
    return Column(title, list(denormalize(weak[shown], preprocessor)), [names[i] for i in shown])


def _valid_column(title: str, valid_NHW: Tensor) -> Column:
    masks = valid_NHW.cpu().numpy()
    pictures = [np.where(m[..., None], _VALID, hatch(*m.shape)) for m in masks]
    return Column(title, pictures, [f"{m.mean():.0%} valid" for m in masks])


def sheet_columns(
    data: Mapping, preprocessor: nn.Module, palette: Sequence[Sequence[int]], rows: int
) -> list[list[Column]]:
    """The columns of a preprocessed batch, grouped by source.

    Args:
        data: What the preprocessor returned: named branches, or a stock batch.
        preprocessor: It.
        palette: Colours of the classes.
        rows: Samples of each source to show, at most.
    """
    inputs, samples = data["inputs"], data["data_samples"]
    if isinstance(inputs, Tensor):  # a stock SegDataPreProcessor
        inputs, samples = dict(sup=inputs), dict(sup=samples)
    groups, known = [], {"unsup_teacher", "unsup_student", "mix", "valid"}
    for branch, x in inputs.items():
        if branch in known or not isinstance(x, Tensor) or x.ndim != 4:
            continue
        groups.append(
            _labeled_columns(branch, x, samples.get(branch, ()), palette, rows, preprocessor)
        )
    if "unsup_teacher" in inputs:
        groups.append(_unlabeled_columns(inputs, samples["unsup_teacher"], rows, preprocessor))
    return groups


# --- Drawing --------------------------------------------------------------------------------------


def _font() -> ImageFont.ImageFont:
    return ImageFont.load_default(size=12)


def _shorten(text: str, width: int) -> str:
    """The text, without its middle if it is wider than this many pixels."""
    font, full = _font(), text
    for keep in range(len(full), 3, -1):
        if font.getlength(text) <= width:
            return text
        text = f"{full[: keep // 2 - 1]}...{full[len(full) - keep // 2 + 1 :]}"
    return text


def _legend(entries: Sequence[tuple[str, Sequence[int] | None]], width: int) -> Image.Image:
    """Colour and name of each class; None is hatched."""
    font = _font()
    step = max((font.getlength(text) for text, _ in entries), default=0) + 34
    across = max(1, int(width // step))
    picture = Image.new("RGB", (width, -(-len(entries) // across) * LINE + GAP), _BACKGROUND)
    draw = ImageDraw.Draw(picture)
    for number, (text, colour) in enumerate(entries):
        top, left = number // across * LINE + GAP // 2, int(number % across * step)
        swatch = hatch(12, 16) if colour is None else np.full((12, 16, 3), colour, np.uint8)
        picture.paste(Image.fromarray(swatch), (left, top))
        draw.rectangle((left, top, left + 16, top + 12), outline=_PALE)
        draw.text((left + 22, top - 2), text, fill=_INK, font=font)
    return picture


def draw_sheet(
    groups: Sequence[Sequence[Column]],
    title: str,
    classes: Sequence[str],
    palette: Sequence[Sequence[int]],
) -> np.ndarray:
    """Columns side by side, a wider gap between sources, over a legend of the classes.

    Returns:
        (height, width, 3) uint8 RGB.
    """
    shapes = [p.shape[:2] for g in groups for c in g for p in c.pictures if p is not None]
    if not shapes:
        raise DataError("the training batch holds no image to show")
    tile_w = min(MAX_TILE, max(MIN_TILE, max(w for _, w in shapes)))
    tile_h = max(round(h * tile_w / w) for h, w in shapes)
    rows = max(len(column.pictures) for group in groups for column in group)
    row_h, header = tile_h + LINE + GAP, 2 * LINE + GAP
    width = sum(len(g) * (tile_w + GAP) for g in groups) + 3 * GAP * (len(groups) - 1) + GAP
    entries = [(name, colour) for name, colour in zip(classes, palette)]
    legend = _legend([*entries, ("void, or padding", None)], width - 2 * GAP)
    sheet = Image.new("RGB", (width, header + rows * row_h + legend.height), _BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    title = f"{title}: a training batch as the model sees it"
    draw.text((GAP, 2), _shorten(title, width - 2 * GAP), fill=_INK, font=_font())
    left = GAP
    for group in groups:
        for column in group:
            draw.text((left, LINE + 3), _shorten(column.title, tile_w), fill=_INK, font=_font())
            for row, picture in enumerate(column.pictures):
                top = header + row * row_h
                if picture is None:
                    continue
                height = round(picture.shape[0] * tile_w / picture.shape[1])
                grows = tile_w >= picture.shape[1]
                how = Image.Resampling.NEAREST if grows else Image.Resampling.BOX
                tile = Image.fromarray(np.ascontiguousarray(picture)).resize((tile_w, height), how)
                sheet.paste(tile, (left, top))
                caption = column.captions[row] if row < len(column.captions) else ""
                draw.text((left, top + tile_h), _shorten(caption, tile_w), fill=_PALE, font=_font())
            left += tile_w + GAP
        left += 3 * GAP
    sheet.paste(legend, (GAP, header + rows * row_h))
    return np.asarray(sheet)


def make_contact_sheet(config: Mapping, dataset: Dataset, title: str, rows: int = 4) -> np.ndarray:
    """The contact sheet of a config's training set.

    Args:
        config: A loaded config.
        dataset: Its training set.
        title: First line of the sheet.
        rows: Samples of each source, at most.

    Returns:
        (height, width, 3) uint8 RGB.

    Raises:
        UserError: The batch cannot be loaded or made; the message is the one of training.
    """
    data, preprocessor = load_branches(config, dataset)
    meta = getattr(dataset, "metainfo", {})
    classes, palette = meta.get("classes") or (), meta.get("palette") or ()
    palette = [list(colour) for colour in palette]
    return draw_sheet(sheet_columns(data, preprocessor, palette, rows), title, classes, palette)
