# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""One picture of a training batch, as the model will see it.

The batch comes from the config's own data set and sampler and goes through its own preprocessor,
strong view and mix, so that the sheet cannot show anything else than training does. No network is
built.

Shape suffixes: N images, B mixed images, C channels, H rows, W columns, K classes.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import NamedTuple

import numpy as np
import torch
from mmengine.dataset import pseudo_collate
from mmseg.registry import DATA_SAMPLERS, MODELS
from mmseg.structures import SegDataSample
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor, nn
from torch.utils.data import Dataset

from ..datasets.semi_dataset import seeded
from ..errors import ConfigError, DataError
from ..models.preprocessor import merge_preprocessors
from ..models.settings import MethodSettings
from ..models.views.mixing import MixRecipe
from ..structures import PseudoLabels, SemiBatch
from .denormalize import denormalize
from .palette import overlay, transparent_classes

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
        pictures: RGB pictures (H, W, 3) uint8 by row.
        captions: A line below each picture.
    """

    title: str
    pictures: list[np.ndarray]
    captions: list[str] = field(default_factory=list)


# --- The batch ------------------------------------------------------------------------------------


def load_batch(
    config: Mapping, dataset: Dataset
) -> tuple[SemiBatch | Tensor, list[SegDataSample] | None, nn.Module]:
    """The first training batch as the preprocessor makes it, with samples if it is a stock one.

    Args:
        config: Config with ``model`` and ``train_dataloader``.
        dataset: Its training set.

    Returns:
        Inputs, samples of a stock batch, and the preprocessor.
    """
    loader, model = config["train_dataloader"], config.get("model") or {}
    settings = dict(loader.get("sampler") or dict(type="DefaultSampler", shuffle=True))
    settings["seed"] = settings.get("seed") or 0
    preprocessing, segmentor = model.get("data_preprocessor"), model.get("segmentor")
    if isinstance(segmentor, Mapping):
        preprocessing = merge_preprocessors(segmentor.get("data_preprocessor"), preprocessing)
    if not preprocessing:
        raise ConfigError("the config has no model.data_preprocessor, which makes the batch")
    with seeded(0), torch.no_grad():
        sampler = DATA_SAMPLERS.build(dict(settings, dataset=dataset))
        # Of several sources, the sampler's counts are the size; a config need not repeat their sum.
        size = getattr(sampler, "batch_size", None) or int(loader.get("batch_size") or 1)
        draws = list(itertools.islice(iter(sampler), size))
        batch = pseudo_collate([dataset[draw] for draw in draws])
        preprocessor = MODELS.build(preprocessing)
        if getattr(preprocessor, "size", 0) is None:  # as the training loop does
            preprocessor.size = getattr(dataset, "crop_size", None)
        data = preprocessor(batch, training=True)
    return data["inputs"], data["data_samples"], preprocessor


class View(NamedTuple):
    """One of the student's views of the unlabelled images.

    Attributes:
        pixels_BCHW: The view, normalised.
        recipe: How it is mixed.
        note: What is missing in it, for people.
    """

    pixels_BCHW: Tensor
    recipe: MixRecipe
    note: str = ""


def draw_views(model: Mapping, batch: SemiBatch, preprocessor: nn.Module) -> list[View]:
    """The student's views, drawn as the method's step draws them, as far as no network is needed."""
    method = MODELS.get(model["type"]) if isinstance(model.get("type"), str) else model.get("type")
    kind = getattr(method, "Settings", MethodSettings)
    given = [item.name for item in fields(kind) if item.name in model]
    settings = kind(**{name: model[name] for name in given})
    strong, mix = (getattr(settings, name, None) for name in ("strong", "mix"))
    num_views, images, note = getattr(settings, "num_views", 1), batch.unlabeled, ""
    pixels = [images.pixels_NCHW] * num_views
    if strong:
        strong = MODELS.build(strong)
        pixels = [
            preprocessor.photometric_view(images, strong, batch.generator) for _ in range(num_views)
        ]
    recipes = [MixRecipe.unmixed(images)] * num_views
    mix = MODELS.build(mix) if mix else None
    if mix is not None and mix.uses_labels:
        note = "not mixed: that follows predicted labels"
    elif mix is not None:
        nothing = images.pixels_NCHW.new_zeros(len(images))
        note = "as for an unsure network" if mix.uses_certainty else ""
        recipes = mix.draw(batch, num_views, PseudoLabels(nothing, nothing, nothing))
    elif not strong:
        note = "the weak view itself"
    labeled = batch.labeled and batch.labeled.pixels_NCHW
    return [View(r.apply(x, labeled=labeled), r, note) for x, r in zip(pixels, recipes)]


def hatch(height: int, width: int) -> np.ndarray:
    """Diagonal stripes (H, W, 3), for pixels without a label or without an image."""
    stripe = (np.add.outer(np.arange(height), np.arange(width)) // 5) % 2
    return np.array(_HATCH, np.uint8)[stripe]


def paint_mask(labels_HW: np.ndarray, palette: Sequence[Sequence[int]]) -> np.ndarray:
    """Labels in the palette's colours, hatched where they are no class.

    Args:
        labels_HW: Integer labels.
        palette: Colour of each class.
    """
    is_class = labels_HW < len(palette)
    table = np.array(palette, np.uint8).reshape(-1, 3)
    painted = table[np.where(is_class, labels_HW, 0)]
    return np.where(is_class[..., None], painted, hatch(*labels_HW.shape))


def _name(sample) -> str:
    path = str(sample.metainfo.get("img_path", ""))
    return path.replace("\\", "/").rsplit("/", 1)[-1]


def _labeled_columns(
    title: str,
    x: Tensor,
    samples: Sequence,
    labels_NHW: Tensor | None,
    palette: Sequence,
    preprocessor: nn.Module,
    clear: Sequence[int] = (),
) -> list[Column]:
    pictures = list(denormalize(x, preprocessor))
    columns = [Column(title, pictures, [_name(sample) for sample in samples])]
    if palette and labels_NHW is not None:
        labels = list(labels_NHW.cpu().numpy())
        void = [f"{(mask >= len(palette)).mean():.0%} void" for mask in labels]
        columns += [
            Column("mask", [paint_mask(mask, palette) for mask in labels], void),
            Column("both", [overlay(m, p, palette, clear) for m, p in zip(labels, pictures)]),
        ]
    return columns


def _unlabeled_columns(
    batch: SemiBatch, views: Sequence[View], rows: int, preprocessor: nn.Module
) -> list[Column]:
    """Weak view, what is pasted on it, every student view, and which pixels are valid."""
    images, recipe = batch.unlabeled, views[0].recipe
    names = [_name(sample) for sample in images.samples]

    def weak_column(title: str, chosen: Sequence[int]) -> Column:
        pixels = denormalize(images.pixels_NCHW[chosen], preprocessor)
        return Column(title, list(pixels), [names[i] for i in chosen])

    columns = [weak_column("weak view", recipe.first.tolist()[:rows])]
    if recipe.pastes:
        columns.append(weak_column("pasted on it", recipe.pastes[0].index_B.tolist()[:rows]))
    labeled_valid = batch.labeled and batch.labeled.valid_NHW
    for number, view in enumerate(views, 1):
        suffix = f" {number}" if len(views) > 1 else ""
        pictures = list(denormalize(view.pixels_BCHW[:rows], preprocessor))
        kind = "mixed view" if recipe.pastes else "student's view"
        columns.append(Column(f"{kind}{suffix}", pictures, [view.note] * len(pictures)))
        # Each mixed view has boxes, and so padding, of its own; plain views share it.
        if recipe.pastes or number == len(views):
            valid = view.recipe.apply(images.valid_NHW, labeled=labeled_valid)[:rows]
            columns.append(_valid_column(f"valid pixels{suffix if recipe.pastes else ''}", valid))
    return columns


def _valid_column(title: str, valid_NHW: Tensor) -> Column:
    masks = valid_NHW.cpu().numpy()
    pictures = [np.where(m[..., None], _VALID, hatch(*m.shape)) for m in masks]
    return Column(title, pictures, [f"{m.mean():.0%} valid" for m in masks])


def sheet_columns(
    config: Mapping, dataset: Dataset, palette: Sequence[Sequence[int]], rows: int
) -> list[list[Column]]:
    """The columns of the first training batch, grouped by source.

    Args:
        config: Config with ``model`` and ``train_dataloader``.
        dataset: Its training set.
        palette: Colours of the classes.
        rows: Samples of each source to show, at most.
    """
    batch, samples, preprocessor = load_batch(config, dataset)
    clear = transparent_classes((getattr(dataset, "metainfo", None) or {}).get("classes") or ())
    if isinstance(batch, Tensor):  # of a stock SegDataPreProcessor
        masks = [sample.gt_sem_seg.data[0] for sample in samples if "gt_sem_seg" in sample]
        labels = torch.stack(masks)[:rows] if len(masks) == len(samples) else None
        title, x = "labelled image", batch[:rows]
        return [_labeled_columns(title, x, samples[:rows], labels, palette, preprocessor, clear)]
    groups, with_labels = [], {"labelled": batch.labeled, **batch.sources}
    for name, images in with_labels.items():
        if images is not None:
            labels = images.labels_NHW if images.labels_NHW is None else images.labels_NHW[:rows]
            x, shown = images.pixels_NCHW[:rows], images.samples[:rows]
            groups.append(
                _labeled_columns(f"{name} image", x, shown, labels, palette, preprocessor, clear)
            )
    if batch.unlabeled is not None:
        with seeded(0), torch.no_grad():
            views = draw_views(config["model"], batch, preprocessor)
        groups.append(_unlabeled_columns(batch, views, rows, preprocessor))
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
    shapes = [p.shape[:2] for g in groups for c in g for p in c.pictures]
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
    meta = getattr(dataset, "metainfo", {})
    classes, palette = meta.get("classes") or (), meta.get("palette") or ()
    palette = [list(colour) for colour in palette]
    return draw_sheet(sheet_columns(config, dataset, palette, rows), title, classes, palette)
