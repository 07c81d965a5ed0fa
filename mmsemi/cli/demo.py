# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""``mmsemi demo``: a supervised baseline and CPS+CutMix on the built-in data set, and a report of both.

Both runs see the same labelled images for the same number of iterations. Written below --out:
results.json, report.html, pictures.png, and a work dir and a log file for each run.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.apis import inference_model, init_model
from mmseg.registry import DATASETS
from PIL import Image
from torch import nn

from ..compat_checkpoints import find_last_checkpoint
from ..errors import CheckpointError, ConfigError
from ..evaluation.class_iou_metric import ClassIoUMetric, ImageScore, class_iou, confusion_of
from ..utils.files import write_beside
from ..visualization import report
from ..visualization.gains import at_shares, plot_bars
from ..visualization.page import Code, Figures, Page, embed, number_table
from .trainings import Training, run_trainings

# Name of the run -> its title and config.
RUNS = {
    "supervised": ("supervised", "supervised/shapes_1-8"),
    "cps_cutmix": ("CPS+CutMix", "cps/shapes_1-8"),
}
LOG_LINES = 20
# Places in the order of gain of the images that are shown: nobody chooses them by eye.
SHOWN = (0.25, 0.5, 0.75, 1.0)
NOISE = (
    "One run each: another seed, or another kind of CPU, moves either mIoU by two to three points "
    "(docs/results/builtin.md)."
)


class RunFailed(RuntimeError):
    """A training ended with an error, or left no result."""


@dataclass(kw_only=True)
class Run(Training):
    """One training of the demo, which starts anew each time.

    Attributes:
        name: Of its folder and its entry in results.json.
        title: Of its column in the table.
        old_scalars: Logs of earlier trainings in the same folder.
    """

    name: str
    title: str
    old_scalars: Sequence[Path] = ()

    def start(self, threads: int) -> None:
        """Start the process."""
        self.old_scalars = list(self.work_dir.glob("*/vis_data/scalars.json"))
        self.log.unlink(missing_ok=True)
        super().start(threads)

    def records(self) -> list[dict]:
        """What it has logged."""
        path = report.find_scalars(self.work_dir, self.old_scalars)
        return report.read_scalars(path) if path else []

    @property
    def dumped_config(self) -> Path:
        """The config with all options that mmengine wrote beside the checkpoints."""
        return self.work_dir / "shapes_1-8.py"

    def checkpoint(self) -> str:
        """Path of the checkpoint that it wrote last.

        Raises:
            RunFailed: There is none.
        """
        try:
            checkpoint = find_last_checkpoint(self.work_dir)
        except CheckpointError as error:
            raise RunFailed(str(error)) from None
        if checkpoint is None:
            raise RunFailed(f"'{self.work_dir}' has no last_checkpoint: the training wrote none")
        return checkpoint


def parse_args(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description="Train a supervised baseline and CPS+CutMix on the built-in data set, and report "
        "both: results.json, report.html and pictures.png below --out.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    # Of the seeds 0, 1, 2 the one with the median gain when it was chosen (docs/results/builtin.md).
    parser.add_argument("--seed", type=int, default=2, help="seed of both trainings")
    parser.add_argument("--out", default="work_dirs/demo", help="folder of all results")
    parser.add_argument(
        "--jobs",
        type=int,
        default=min(2, os.cpu_count() or 1),
        help="trainings at a time: 2 side by side, 1 one after the other",
    )
    # One thread by default: sums in another order would give other numbers on another machine.
    parser.add_argument(
        "--threads", type=int, default=1, help="CPU threads of each training and of the report"
    )
    parser.add_argument("--max-iters", type=int, help="shorter trainings, to try the command")
    parser.add_argument("--every", type=float, default=20, help="seconds between progress lines")
    parser.add_argument("--report-only", action="store_true", help="report the runs in --out again")
    args = parser.parse_args(arguments)
    if args.jobs < 1 or args.threads < 1:
        raise ConfigError(f"--jobs {args.jobs} --threads {args.threads}: both must be at least 1")
    return args


def make_runs(args: argparse.Namespace) -> list[Run]:
    """The trainings of the demo, baseline first."""
    out = Path(args.out)
    options = [f"randomness.seed={args.seed}"]
    if args.max_iters:
        options += [f"train_cfg.{key}={args.max_iters}" for key in ("max_iters", "val_interval")]
    return [
        Run(
            name=name,
            title=title,
            config=config,
            work_dir=out / name,
            options=options,
            log=out / f"{name}.log",
        )
        for name, (title, config) in RUNS.items()
    ]


def train(runs: Sequence[Run], jobs: int, threads: int, every: float) -> None:
    """Run the trainings, at most ``jobs`` at a time, and print their progress.

    Raises:
        RunFailed: One of them failed; the others are stopped. Its log's last lines are in the text.
    """

    def show(run: Run) -> None:
        print(report.progress_line(run.title, run.records(), max_iters(run)), flush=True)

    with closing(run_trainings(runs, jobs, threads, show, every)) as ended:
        for run in ended:
            if run.exit_code:
                lines = run.log.read_text(errors="replace").splitlines()[-LOG_LINES:]
                raise RunFailed(
                    f"the {run.title} training failed with exit code {run.exit_code}, last lines of "
                    f"{run.log}:\n" + "\n".join(lines)
                )
            line = report.progress_line(run.title, run.records(), max_iters(run))
            print(f"{line}, done in {run.seconds:.0f} s", flush=True)


def max_iters(run: Run) -> int | None:
    """Length of a training, or None while its config is not written."""
    try:  # the training may be writing the file right now
        config = Config.fromfile(run.dumped_config, import_custom_modules=False)
        return int(config.train_cfg.max_iters)
    except Exception:
        return None


def predict(model: nn.Module, path: str) -> np.ndarray:
    """Predicted label map (H, W) uint8 of an image file."""
    result = inference_model(model, path)
    return result.pred_sem_seg.data[0].cpu().numpy().astype(np.uint8)


def read_mask(path: str | Path) -> np.ndarray:
    """Label map (H, W) uint8 of a grey or palette PNG."""
    return np.array(Image.open(path))


def score(prediction_HW: np.ndarray, mask_HW: np.ndarray, num_classes: int) -> ImageScore:
    """Pixel counts of one image; void counts nowhere."""
    maps = (torch.from_numpy(one) for one in (prediction_HW, mask_HW))
    return ClassIoUMetric.intersect_and_union(*maps, num_classes, report.VOID)


def evaluate(scores: Sequence[ImageScore], classes: Sequence[str]) -> dict[str, float]:
    """IoU of every class and their mean ('mIoU') over images, in percent."""
    iou = class_iou(confusion_of(scores, len(classes)))
    return {**dict(zip(classes, iou.tolist(), strict=True)), "mIoU": float(np.nanmean(iou))}


@dataclass
class Example:
    """An image with what is shown of it.

    Attributes:
        image: Path of the file.
        mask_HW: The truth.
        maps: Predicted label map (H, W) of each network by its title.
        gain: How much higher the mean IoU of the image is with the last of them than with the first.
    """

    image: str
    mask_HW: np.ndarray
    maps: dict[str, np.ndarray]
    gain: float


def examples(
    models: dict[str, nn.Module], files: Sequence[tuple[str, str]], num_classes: int
) -> list[Example]:
    """Images in the order of their gain, those at :data:`SHOWN` of it."""
    found = []
    for image, path in files:
        mask = read_mask(path)
        maps = {title: predict(model, image) for title, model in models.items()}
        iou = [score(one, mask, num_classes).miou for one in maps.values()]
        found.append(Example(image, mask, maps, iou[-1] - iou[0]))
    return [found[index] for index in at_shares([one.gain for one in found], SHOWN)]


def draw_pictures(
    shown: Sequence[Example], cps: nn.Module, palette: Sequence[Sequence[int]]
) -> np.ndarray:
    """Picture grid, a row for each image: truth, predictions and pseudo-label.

    Args:
        shown: At least one image.
        cps: The network of CPS whose second branch gives the pseudo-label that the first learns from.
        palette: RGB of each class.
    """
    rows = []
    for one in shown:
        with cps.predicting_on(1):
            maps = [one.mask_HW, *one.maps.values(), predict(cps, one.image)]
        rows.append(
            [cv2.imread(one.image)[..., ::-1], *(report.colorize(m, palette) for m in maps)]
        )
    return report.picture_grid(rows, ["image", "truth", *shown[0].maps, "pseudo-label"])


def unlabeled_pairs(config: Config) -> list[tuple[str, str]]:
    """The unlabelled training images, with the masks that training never opens."""
    dataset = DATASETS.build(config.train_dataloader.dataset)
    labeled = config.train_dataloader.dataset.labeled
    root, prefix = Path(labeled.data_root), labeled.get("data_prefix") or {}
    images = root / prefix.get("img_path", "JPEGImages")
    masks = root / prefix.get("seg_map_path", "SegmentationClass")
    return [(str(images / f"{n}.jpg"), str(masks / f"{n}.png")) for n in dataset.unlabeled_ids]


def make_report(runs: Sequence[Run], seed: int, out: Path) -> dict:
    """Evaluate the last checkpoints, print the table, write the results, pictures and the page.

    Raises:
        RunFailed: A run left no checkpoint or no logged mIoU.
    """
    init_default_scope("mmseg")
    columns, models, losses, scores, results = {}, {}, {}, {}, {}
    for run in runs:
        records = run.records()
        logged = report.last_value(records, "mIoU")
        if logged is None:
            raise RunFailed(f"no mIoU in the log of the {run.title} training in {run.work_dir}")
        config = Config.fromfile(run.dumped_config)
        model = models[run.title] = init_model(config, run.checkpoint(), device="cpu")
        val_set = {**config.val_dataloader.dataset, "pipeline": [], "lazy_init": False}
        dataset = DATASETS.build(val_set)
        infos = [dataset.get_data_info(i) for i in range(len(dataset))]
        files = [(info["img_path"], info["seg_map_path"]) for info in infos]
        classes = dataset.metainfo["classes"]
        counts = [score(predict(model, i), read_mask(m), len(classes)) for i, m in files]
        column = columns[run.title] = evaluate(counts, classes)
        if abs(column["mIoU"] - logged) > 0.1:  # the log rounds to two digits
            print(
                f"warning: {run.title}: the log says mIoU {logged:.2f}, the last checkpoint gives "
                f"{column['mIoU']:.2f}; reported is the checkpoint",
                flush=True,
            )
        losses[run.title] = report.series(records, "loss")
        scores[run.title] = report.series(records, "mIoU")
        rounded = {name: round(value, 2) for name, value in column.items()}
        results[run.name] = {
            "mIoU": rounded.pop("mIoU"),
            "iou": rounded,
            "iterations": int(config.train_cfg.max_iters),
            "command": str(run),
        }
    print(f"{report.result_table(columns)}\n{NOISE}", flush=True)
    results["seed"] = seed

    pairs = unlabeled_pairs(config)
    shown = [examples(models, part, len(classes)) for part in (files, pairs)]
    png = report.encode_png(draw_pictures(sum(shown, []), model, dataset.metainfo["palette"]))
    _write(out / "pictures.png", png)
    points = max((len(steps) for steps, _ in losses.values()), default=0)
    loss_curves = report.plot_curves(losses, "loss", smooth=max(1, points // 40))
    gain = results["cps_cutmix"]["mIoU"] - results["supervised"]["mIoU"]
    intro = (
        f"Seed {seed}, the same labelled images and {results['supervised']['iterations']} "
        f"iterations for both. With the unlabelled images, CPS+CutMix is {gain:+.2f} mIoU points "
        f"from the supervised baseline. {NOISE} Values are IoU in percent at the last checkpoint. The "
        "pseudo-label is what the second network of CPS predicts for an unlabelled image and the "
        "first one learns from."
    )
    page = Page("mmsemi demo", [intro])
    page.add("IoU in percent", number_table(columns))
    bars = embed(plot_bars(columns, "IoU (%)"))
    page.add("By class", Figures([("IoU at the last checkpoint", bars)], across=False))
    curves = {
        "mIoU on the validation images": report.plot_curves(scores, "mIoU (%)"),
        "Training loss (that of CPS has an unsupervised term)": loss_curves,
    }
    page.add("Curves", Figures([(name, embed(svg)) for name, svg in curves.items()]))
    val_gains, train_gains = (", ".join(f"{one.gain:+.1f}" for one in part) for part in shown)
    caption = (
        "Images at 25, 50, 75 and 100 % of the order of their gain, the mean IoU of the image with "
        f"CPS+CutMix less that with the supervised network: validation images ({val_gains} points), "
        f"below them unlabelled training images ({train_gains})"
    )
    page.add("Pictures", Figures([(caption, embed(png))], across=False))
    page.add("Commands", Code("\n".join(str(run) for run in runs), wrap=True))
    _write(out / "report.html", page.render().encode())
    # Last, so that a results.json means a complete report.
    _write(out / "results.json", (json.dumps(results, indent=2) + "\n").encode())
    return results


def _write(path: Path, content: bytes) -> None:
    write_beside(path, lambda file: file.write(content))


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line of ``mmsemi demo``."""
    args = parse_args(arguments)
    out, started = Path(args.out), time.perf_counter()
    runs = make_runs(args)
    try:
        if not args.report_only:
            # An old result must not outlive a failure.
            (out / "results.json").unlink(missing_ok=True)
            train(runs, args.jobs, args.threads, args.every)
        torch.set_num_threads(args.threads)
        make_report(runs, args.seed, out)
    except RunFailed as error:
        print(error, file=sys.stderr)
        return 1
    minutes = (time.perf_counter() - started) / 60
    results = ", ".join(str(out / name) for name in ("report.html", "pictures.png", "results.json"))
    print(f"{results} ({minutes:.1f} min)")
    return 0
