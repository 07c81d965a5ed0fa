# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""What the rows of a table label: the quality of their pseudo-labels, and pictures to look at.

    python -m runs.look nuclei --seed 1                      # a table of pseudo-labels, all rows that ran here
    python -m runs.look nuclei fixmatch cps --pictures FILE  # pictures of rows
    python -m runs.look nuclei weak fixmatch --gains FILE    # where the second row is better than the first

Reads the last checkpoints below ``work_dirs/runs`` and opens masks of unlabelled images, which no
training has seen. A pixel is kept where the network that predicts is at least ``--threshold`` sure.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from mmseg.apis import inference_model, init_model
from mmseg.models import BaseSegmentor

from mmsemi.cli import run as run_command
from mmsemi.errors import DataError
from mmsemi.evaluation.class_iou_metric import ClassIoUMetric, ImageScore
from mmsemi.utils.files import write_beside
from mmsemi.utils.markdown import format_table
from mmsemi.visualization.gains import at_shares
from mmsemi.visualization.report import VOID, colorize, picture_grid

from .code import ROOT
from .make import make_run
from .rows import PROTOCOLS, Protocol
from .settings import row_config

#: Of masks with two classes; others take mmseg's palette of the data set.
TWO_COLORS = ((20, 20, 20), (86, 180, 233))
UNSURE = np.array((213, 94, 0), np.uint8)
#: Places in the order of gain of the images that are shown: the median, and a large one.
SHARES = (0.5, 0.9)


def read_model(protocol: Protocol, name: str, seed: int) -> BaseSegmentor | None:
    """The network at the last checkpoint of a row, or None where it has not run on this machine."""
    row = protocol.row(name)
    one = make_run(protocol, row, seed)
    if one.checkpoint is None or not one.report.is_file():
        return None
    return init_model(row_config(row).copy(), str(one.checkpoint), device="cpu")


def label(model: BaseSegmentor, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Labels (H, W) of an image (H, W, 3; BGR, uint8) and their confidence, 0 to 1."""
    logits = inference_model(model, image).seg_logits.data
    confidence, labels = logits.float().softmax(0).max(0)
    return labels.numpy(), confidence.numpy()


class Images:
    """Images of a data set with their masks.

    Args:
        protocol: Of the data set.
        part: ``train`` or ``val``.
        names: Of the images, without suffix; all if None.
    """

    def __init__(self, protocol: Protocol, part: str, names: Sequence[str] | None = None) -> None:
        self.folder, self.part = ROOT / protocol.folder, part
        found = sorted(path.stem for path in (self.folder / "images" / part).glob("*.jpg"))
        self.names = found if names is None else list(names)

    @property
    def paths(self) -> list[Path]:
        """Of the images."""
        return [self._path(name) for name in self.names]

    def _path(self, name: str) -> Path:
        return self.folder / "images" / self.part / f"{name}.jpg"

    def image(self, name: str) -> np.ndarray:
        """BGR, uint8 (H, W, 3)."""
        return cv2.imread(str(self._path(name)))

    def mask(self, name: str) -> np.ndarray:
        """Labels (H, W)."""
        path = self.folder / "labels" / self.part / f"{name}.png"
        return cv2.imread(str(path), cv2.IMREAD_UNCHANGED)

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        return ((self.image(name), self.mask(name)) for name in self.names)


def read_list(protocol: Protocol, name: str) -> list[str]:
    """The ids of a list of the repository, without folders and suffixes."""
    lines = (ROOT / "splits" / protocol.data / f"{name}.txt").read_text().split()
    return [Path(line).stem for line in lines]


def labeled_images(protocol: Protocol, name: str) -> Images:
    """The labelled images of a row."""
    split = row_config(protocol.row(name)).train_dataloader.dataset.split
    return Images(protocol, "train", read_list(protocol, Path(split.labeled).stem))


def quality(model: BaseSegmentor, images: Images, threshold: float) -> list[str]:
    """How good the labels are that a network gives: cells of :data:`HEAD`, in percent."""
    classes = len(model.dataset_meta["classes"])
    hits, kept, truth = (np.zeros(classes, np.int64) for _ in range(3))
    pixels = all_kept = 0
    for image, mask in images:
        labels, confidence = label(model, image)
        valid = mask != VOID
        sure = valid & (confidence >= threshold)
        pixels, all_kept = pixels + valid.sum(), all_kept + sure.sum()
        kept += np.bincount(labels[sure], minlength=classes)
        hits += np.bincount(labels[sure & (labels == mask)], minlength=classes)
        truth += np.bincount(mask[valid], minlength=classes)
    with np.errstate(invalid="ignore"):
        right, found = 100 * hits / kept, 100 * hits / truth
    return [f"{100 * all_kept / pixels:.1f}", f"{100 * hits.sum() / max(all_kept, 1):.2f}",
            " ".join(f"{value:.1f}" for value in right),
            " ".join(f"{value:.1f}" for value in found)]  # fmt: skip


HEAD = (
    "method",
    "kept share",
    "of the kept right",
    "of the kept right, by class",
    "of a class kept and right",
)


def quality_table(protocol: Protocol, names: Sequence[str], seed: int, threshold: float) -> str:
    """A Markdown table of the pseudo-labels of every fourth image of the pool."""
    images = Images(protocol, "train", read_list(protocol, "pool")[::4])
    rows = []
    for name in names:
        model = read_model(protocol, name, seed)
        if model is not None:
            rows.append([protocol.row(name).title, *quality(model, images, threshold)])
            print(" | ".join(rows[-1]), file=sys.stderr, flush=True)
    return format_table(HEAD, rows)


def read_models(protocol: Protocol, names: Sequence[str], seed: int) -> dict[str, BaseSegmentor]:
    """The networks of rows at their last checkpoints.

    Raises:
        DataError: A row has not run here.
    """
    models = {name: read_model(protocol, name, seed) for name in names}
    for name, model in models.items():
        if model is None:
            raise DataError(
                f"'{name}' has no checkpoint here: runs/{protocol.data}.sh {name} {seed}"
            )
    return models


def colors_of(model: BaseSegmentor) -> Sequence[Sequence[int]]:
    """RGB of each class of a network's data set."""
    meta = model.dataset_meta
    return TWO_COLORS if len(meta["classes"]) == 2 else meta["palette"]


def image_score(labels: np.ndarray, mask: np.ndarray, classes: int) -> ImageScore:
    """How right the labels (H, W) of one image are; its ``miou`` is over the classes that it or its prediction has."""
    maps = (torch.from_numpy(one) for one in (labels, mask))
    return ClassIoUMetric.intersect_and_union(*maps, classes, VOID)


def gain_pictures(protocol: Protocol, names: Sequence[str], seed: int) -> np.ndarray:
    """Validation images at :data:`SHARES` of the order of their gain, wrong pixels orange.

    The gain is the mean IoU of the image with the last row less that with the first one.

    Raises:
        DataError: A row has not run here.
    """
    models = read_models(protocol, names, seed)
    model = next(iter(models.values()))
    colors, classes = colors_of(model), len(model.dataset_meta["classes"])
    images, found = Images(protocol, "val"), []
    for image, mask in images:
        maps = [label(model, image)[0] for model in models.values()]
        iou = [image_score(one, mask, classes).miou for one in maps]
        found.append((iou[-1] - iou[0], image, mask, maps))
    rows = []
    for index in at_shares([one[0] for one in found], SHARES):
        gain, image, mask, maps = found[index]
        print(f"{images.names[index]}: {gain:+.2f}")
        cells = [image[..., ::-1], colorize(mask, colors)]
        for one in maps:
            cell = colorize(one, colors)
            cell[(one != mask) & (mask != VOID)] = UNSURE
            cells.append(cell)
        rows.append(cells)
    return picture_grid(rows, ["image", "mask", *(protocol.row(n).title for n in names)], 165)


def pictures(protocol: Protocol, names: Sequence[str], seed: int, threshold: float) -> np.ndarray:
    """A page: labelled images, predictions of validation images, pseudo-labels of unlabelled ones.

    The images are chosen without looking at a result: those at equal distances in the order of brightness.

    Raises:
        DataError: A row has not run here.
    """
    models = read_models(protocol, names, seed)
    colors = colors_of(next(iter(models.values())))
    titles = [protocol.row(name).title for name in names]

    def row_of(images: Images, name: str, with_confidence: bool) -> list[np.ndarray]:
        image = images.image(name)
        cells = [image[..., ::-1], colorize(images.mask(name), colors)]
        for model in models.values():
            labels, confidence = label(model, image)
            cell = colorize(labels, colors)
            if with_confidence:
                cell[confidence < threshold] = UNSURE
            cells.append(cell)
        return cells

    labeled = labeled_images(protocol, names[0])
    first = [[image[..., ::-1], colorize(mask, colors)] for image, mask in labeled]
    width = len(titles) + 2
    flat = [cell for pair in first for cell in pair]
    flat += [None] * (-len(flat) % width)
    rows = [flat[i : i + width] for i in range(0, len(flat), width)]
    pages = [picture_grid(rows, ["labelled, and its mask"] + [""] * (width - 1), 130)]
    for part, images, sure in (
        ("validation", Images(protocol, "val"), False),
        ("unlabelled", Images(protocol, "train", read_list(protocol, "pool")), True),
    ):
        brightness = {name: float(images.image(name).mean()) for name in images.names}
        ordered = sorted(brightness, key=brightness.get)
        chosen = [ordered[round(q * (len(ordered) - 1))] for q in (0.2, 0.5, 0.75, 0.88, 0.97)]
        grid = [row_of(images, name, sure) for name in chosen]
        pages.append(picture_grid(grid, [part, "mask", *titles], 130))
    return np.concatenate(pages)


def main(arguments: Sequence[str]) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        description="Show how good the pseudo-labels of rows are, or draw pictures of rows."
    )
    parser.add_argument("data", choices=PROTOCOLS)
    parser.add_argument("methods", nargs="*", help="rows; by default all that go on from the start")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threshold", type=float, default=0.95, help="a kept pixel is as sure")
    parser.add_argument("--pictures", type=Path, help="write a JPEG or PNG instead of the table")
    parser.add_argument(
        "--gains", type=Path, help="write a JPEG or PNG of validation images chosen by their gain"
    )
    args = parser.parse_args(arguments)
    torch.set_num_threads(1)
    protocol = PROTOCOLS[args.data]
    names = args.methods or [row.name for row in protocol.rows if row.table == "continued"]
    path = args.pictures or args.gains
    if path is None:
        print(quality_table(protocol, names, args.seed, args.threshold), end="")
        return 0
    if args.pictures is not None:
        page = pictures(protocol, names, args.seed, args.threshold)
    else:
        page = gain_pictures(protocol, names, args.seed)
    _, content = cv2.imencode(path.suffix, page[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 85])
    write_beside(path, lambda file: file.write(content.tobytes()))
    return 0


if __name__ == "__main__":
    sys.exit(run_command("runs.look", sys.argv[1:], "runs.look"))
