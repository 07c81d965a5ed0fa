# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Train a supervised baseline and CPS+CutMix on the built-in data set, and report both.

Both runs see the same labelled images for the same number of iterations; they are started as
``tools/train.py configs/<method>/shapes_1-8.py``. Written below --out: results.json, report.html,
pictures.png, and a work dir and a log file for each run.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import time
import warnings
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

TITLES = {"supervised": "supervised", "cps_cutmix": "CPS+CutMix"}
CONFIGS = {"supervised": "supervised/shapes_1-8.py", "cps_cutmix": "cps/shapes_1-8.py"}
LOG_LINES = 20


class RunFailed(RuntimeError):
    """A training ended with an error, or left no result."""


@dataclass
class Run:
    """One training as a subprocess."""

    name: str
    command: list[str]
    work_dir: Path
    log: Path
    process: subprocess.Popen | None = None
    started: float = 0.0
    seconds: float = 0.0
    old_scalars: list[Path] = field(default_factory=list)

    def start(self, threads: int) -> None:
        self.old_scalars = list(self.work_dir.glob("*/vis_data/scalars.json"))
        env = dict(os.environ, OMP_NUM_THREADS=str(threads), MKL_NUM_THREADS=str(threads))
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                self.command,
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env=env,
            )
        self.started = time.perf_counter()

    def finished(self) -> bool:
        """Whether the training has ended well.

        Raises:
            RunFailed: It ended with an error. The message holds the last lines of its log.
        """
        code = self.process.poll()
        if code is None:
            return False
        self.seconds = self.seconds or time.perf_counter() - self.started
        if code != 0:
            raise RunFailed(
                f"the {TITLES[self.name]} training failed with exit code {code}, "
                f"last lines of {self.log}:\n{log_tail(self.log)}"
            )
        return True

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()


def log_tail(path: Path, lines: int = LOG_LINES) -> str:
    """The last lines of a text file."""
    text = path.read_text(errors="replace").splitlines() if path.exists() else []
    return "\n".join(text[-lines:]) or "(empty)"


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of both trainings")
    parser.add_argument("--out", default="work_dirs/demo", help="folder of all results")
    parser.add_argument(
        "--jobs",
        type=int,
        default=min(2, os.cpu_count() or 1),
        help="trainings at a time: 2 side by side, 1 one after the other",
    )
    # One thread by default: sums in another order would give other numbers on another machine.
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of each training")
    parser.add_argument("--max-iters", type=int, help="shorter trainings, to try the tool")
    parser.add_argument("--every", type=float, default=20, help="seconds between progress lines")
    parser.add_argument("--report-only", action="store_true", help="report the runs in --out again")
    return parser.parse_args(argv)


def make_runs(args: argparse.Namespace) -> list[Run]:
    """The trainings of the demo, baseline first."""
    out = Path(args.out)
    runs = []
    for name, config in CONFIGS.items():
        options = [f"randomness.seed={args.seed}"]
        if args.max_iters:
            options += [
                f"train_cfg.max_iters={args.max_iters}",
                f"train_cfg.val_interval={args.max_iters}",
            ]
        command = [sys.executable, str(ROOT / "tools" / "train.py"), str(ROOT / "configs" / config)]
        command += ["--work-dir", str(out / name), "--cfg-options", *options]
        runs.append(Run(name, command, out / name, out / f"{name}.log"))
    return runs


def train(runs: list[Run], jobs: int, threads: int, every: float) -> None:
    """Run the trainings, at most ``jobs`` at a time, and print their progress.

    Raises:
        RunFailed: One of them failed; the others are stopped.
    """
    from mmsemi.visualization import report

    waiting, running = list(runs), []
    shown = time.perf_counter()
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                run = waiting.pop(0)
                print(f"{TITLES[run.name]}: {shlex.join(run.command)}", flush=True)
                run.start(threads)
                running.append(run)
            time.sleep(min(1.0, every))
            due = time.perf_counter() - shown >= every
            for run in list(running):
                done = run.finished()
                if done or due:
                    path = report.find_scalars(run.work_dir, run.old_scalars)
                    records = report.read_scalars(path) if path else []
                    line = report.progress_line(TITLES[run.name], records, max_iters(run.work_dir))
                    print(line + (f", done in {run.seconds:.0f} s" if done else ""), flush=True)
                if done:
                    running.remove(run)
            if due:
                shown = time.perf_counter()
    finally:
        for run in running:
            run.stop()


def dumped_config(work_dir: Path) -> Path:
    """The config with all options that mmengine wrote beside the checkpoints."""
    return work_dir / "shapes_1-8.py"


def max_iters(work_dir: Path) -> int | None:
    """Length of a training, or None while its config is not written."""
    from mmengine.config import Config

    path = dumped_config(work_dir)
    try:  # the training may be writing the file right now
        return int(Config.fromfile(path, import_custom_modules=False).train_cfg.max_iters)
    except Exception:
        return None


def last_checkpoint(work_dir: Path) -> str:
    """Path of the checkpoint that a training wrote last."""
    pointer = work_dir / "last_checkpoint"
    if not pointer.exists():
        raise RunFailed(f"{pointer} is missing: the training wrote no checkpoint")
    checkpoint = Path(pointer.read_text().strip())
    # A work dir that was moved keeps its checkpoints beside the pointer.
    return str(checkpoint if checkpoint.exists() else work_dir / checkpoint.name)


def predict(model, path: str):
    """Predicted label map (H, W) uint8 of an image file."""
    import numpy as np
    from mmseg.apis import inference_model

    result = inference_model(model, path)
    return result.pred_sem_seg.data[0].cpu().numpy().astype(np.uint8)


def read_mask(path: str | Path):
    """Label map (H, W) uint8 of a grey or palette PNG."""
    import numpy as np
    from PIL import Image

    return np.array(Image.open(path))


def evaluate(model, files: list[tuple[str, str]], classes: tuple[str, ...]) -> dict[str, float]:
    """IoU of every class and their mean ('mIoU'), in percent."""
    import numpy as np

    from mmsemi.visualization import report

    confusion = sum(
        report.count_confusion(read_mask(mask), predict(model, image), len(classes))
        for image, mask in files
    )
    iou = report.class_iou(confusion)
    return {**dict(zip(classes, iou.tolist(), strict=True)), "mIoU": float(np.nanmean(iou))}


def draw_pictures(models: dict, val_files, unlabeled_files, palette):
    """Picture grid: validation images, then unlabelled training images with their pseudo-labels."""
    import cv2

    from mmsemi.visualization import report

    rows = []
    for number, (image, mask) in enumerate([*val_files, *unlabeled_files]):
        row = [cv2.imread(image)[..., ::-1], report.colorize(read_mask(mask), palette)]
        row += [report.colorize(predict(models[name], image), palette) for name in TITLES]
        if number < len(val_files):
            row.append(None)
        else:  # branch 1 teaches branch 0: its prediction is the label that branch 0 learns from
            with models["cps_cutmix"].predicting_on(1):
                row.append(report.colorize(predict(models["cps_cutmix"], image), palette))
        rows.append(row)
    return report.picture_grid(rows, ["image", "truth", *TITLES.values(), "pseudo-label"])


def unlabeled_pairs(cfg, count: int) -> list[tuple[str, str]]:
    """Some unlabelled training images, with the masks that training never opens."""
    from mmseg.registry import DATASETS

    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    labeled = cfg.train_dataloader.dataset.labeled
    root, prefix = Path(labeled.data_root), labeled.get("data_prefix") or {}
    images = root / prefix.get("img_path", "JPEGImages")
    masks = root / prefix.get("seg_map_path", "SegmentationClass")
    names = dataset.unlabeled_ids[:count]
    return [(str(images / f"{name}.jpg"), str(masks / f"{name}.png")) for name in names]


def make_report(runs: list[Run], seed: int, out: Path) -> dict:
    """Evaluate the last checkpoints, print the table, write the results, pictures and the page.

    Raises:
        RunFailed: A run left no checkpoint or no logged mIoU.
    """
    from mmengine.config import Config
    from mmengine.registry import init_default_scope
    from mmseg.apis import init_model
    from mmseg.registry import DATASETS

    import mmsemi  # noqa: F401  (registers everything and makes the stock packages importable)
    from mmsemi.visualization import report

    # Once for each image size, and meant for other networks: the sizes need not be odd here.
    warnings.filterwarnings("ignore", message="When align_corners=True")
    init_default_scope("mmseg")
    columns, models, losses, scores, results = {}, {}, {}, {}, {}
    for run in runs:
        title = TITLES[run.name]
        path = report.find_scalars(run.work_dir)
        records = report.read_scalars(path) if path else []
        logged = report.last_value(records, "mIoU")
        if logged is None:
            raise RunFailed(f"no mIoU in the log of the {title} training in {run.work_dir}")
        cfg = Config.fromfile(dumped_config(run.work_dir))
        model = models[run.name] = init_model(cfg, last_checkpoint(run.work_dir), device="cpu")
        dataset = DATASETS.build({**cfg.val_dataloader.dataset, "pipeline": [], "lazy_init": False})
        infos = [dataset.get_data_info(i) for i in range(len(dataset))]
        files = [(info["img_path"], info["seg_map_path"]) for info in infos]
        columns[title] = evaluate(model, files, dataset.metainfo["classes"])
        if abs(columns[title]["mIoU"] - logged) > 0.1:  # the log rounds to two digits
            print(
                f"warning: {title}: the log says mIoU {logged:.2f}, the last checkpoint gives "
                f"{columns[title]['mIoU']:.2f}; reported is the checkpoint",
                flush=True,
            )
        losses[title] = report.series(records, "loss")
        scores[title] = report.series(records, "mIoU")
        rounded = {name: round(value, 2) for name, value in columns[title].items()}
        results[run.name] = {
            "mIoU": rounded.pop("mIoU"),
            "iou": rounded,
            "iterations": int(cfg.train_cfg.max_iters),
            "command": shlex.join(run.command),
        }
    print(report.result_table(columns), flush=True)
    results["seed"] = seed

    grid = draw_pictures(models, files[:5], unlabeled_pairs(cfg, 4), dataset.metainfo["palette"])
    png = report.encode_png(grid)
    write_atomically(out / "pictures.png", png)
    pictures = [
        ("mIoU on the validation images", report.plot_curves(scores, "mIoU (%)")),
        ("Training loss (the loss of CPS has an unsupervised term)", loss_plot(losses)),
        ("Validation images; below them unlabelled training images with their pseudo-label", png),
    ]
    gain = results["cps_cutmix"]["mIoU"] - results["supervised"]["mIoU"]
    intro = (
        f"Seed {seed}, the same labelled images and {results['supervised']['iterations']} "
        f"iterations for both. With the unlabelled images, CPS+CutMix is {gain:+.2f} mIoU points "
        "from the supervised baseline. Values are IoU in percent at the last checkpoint. The "
        "pseudo-label is what the second network of CPS predicts for an unlabelled image and the "
        "first one learns from."
    )
    commands = [shlex.join(run.command) for run in runs]
    page = report.html_report("mmsemi demo", intro, columns, pictures, commands)
    write_atomically(out / "report.html", page.encode())
    # Last, so that a results.json means a complete report.
    write_atomically(out / "results.json", (json.dumps(results, indent=2) + "\n").encode())
    return results


def loss_plot(losses: dict) -> bytes:
    """Loss curves as PNG bytes, smoothed when there are many points."""
    from mmsemi.visualization import report

    points = max((len(steps) for steps, _ in losses.values()), default=0)
    return report.plot_curves(losses, "loss", smooth=max(1, points // 40))


def write_atomically(path: Path, data: bytes) -> None:
    """Write beside and rename, so that readers never see half a file."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_bytes(data)
    os.replace(temporary, path)


def main(argv: list[str] | None = None) -> int:
    """Run the demo; returns the exit code."""
    args = parse_args(argv)
    if args.jobs < 1 or args.threads < 1:
        print("demo: --jobs and --threads must be at least 1", file=sys.stderr)
        return 2
    out, started = Path(args.out), time.perf_counter()
    runs = make_runs(args)
    try:
        out.mkdir(parents=True, exist_ok=True)
        if not args.report_only:
            (out / "results.json").unlink(
                missing_ok=True
            )  # an old result must not outlive a failure
            train(runs, args.jobs, args.threads, args.every)
        make_report(runs, args.seed, out)
    except (RunFailed, OSError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    minutes = (time.perf_counter() - started) / 60
    print(
        f"{out / 'report.html'}, {out / 'pictures.png'}, {out / 'results.json'} ({minutes:.1f} min)"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
