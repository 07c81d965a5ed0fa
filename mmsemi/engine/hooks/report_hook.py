# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""``report.html`` of a run, while it trains."""

from __future__ import annotations

import json
import platform
import subprocess
import time
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import get_world_size, master_only
from mmengine.hooks import Hook
from mmseg.registry import HOOKS

from ...evaluation.class_iou_metric import EvaluationDetails, ImageScore, best_and_worst
from ...utils.command_line import command_line
from ...utils.files import write_beside
from ...utils.processes import cpu_names
from ...visualization.example_pictures import example_picture
from ...visualization.palette import class_palette
from ...visualization.run_files import EXAMPLES, RUN, VALIDATION
from ...visualization.run_report import PAGE, write_report
from ..summary import describe_data, describe_networks
from ..unwrap import unwrapped_model

_PACKAGES = ("mmsemi", "mmseg", "mmengine", "mmcv", "torch", "torchvision", "numpy")


@HOOKS.register_module()
class ReportHook(Hook):
    """Write ``<work_dir>/report.html`` at each validation and at the end of a training.

    The page is made from files of the run alone, so ``mmsemi report WORK_DIR`` makes it again. Beside
    the log, they are what this hook writes below ``<work_dir>/<timestamp>/vis_data``: ``run.json`` and,
    with ``val_evaluator.type='ClassIoUMetric'``, ``validation.json`` and ``examples``.

    A report that cannot be written is a warning in the log: it never ends a training.
    """

    # After the logger's and other hooks' records of the same validation.
    priority = "LOWEST"

    def __init__(self) -> None:
        self._is_training = False

    @master_only
    def before_train(self, runner) -> None:
        """Note how the training was started."""
        self._is_training = True
        self._write(runner, RUN, run_info(runner))

    @master_only
    def after_val_epoch(self, runner, metrics: dict[str, float] | None = None) -> None:
        """Keep what the validation found, and write the page."""
        if not self._is_training:
            return
        network, details = validation_details(runner)
        if details is not None:
            dataset = runner.val_dataloader.dataset
            palette = getattr(dataset, "metainfo", {}).get("palette")
            count = max(getattr(m, "num_examples", 0) for m in runner.val_evaluator.metrics)
            examples = self._save_examples(runner, details, palette, count)
            content = dict(
                step=runner.iter,
                network=network,
                classes=details.classes,
                palette=palette and [list(map(int, colour)) for colour in palette],
                confusion=details.confusion.tolist(),
                images=[dict(path=one.path, mIoU=_rounded(one.miou)) for one in details.images],
                examples=examples,
            )
            self._write(runner, VALIDATION, content)
        self._write_page(runner)

    @master_only
    def after_train(self, runner) -> None:
        """Write the page with what other hooks said at the end."""
        self._write_page(runner)

    @staticmethod
    def _write(runner, name: str, content: dict[str, Any]) -> None:
        data = json.dumps(content).encode()
        write_beside(Path(runner.log_dir, "vis_data", name), lambda file: file.write(data))

    @staticmethod
    def _save_examples(
        runner, details: EvaluationDetails, palette: Sequence | None, count: int
    ) -> list[dict[str, Any]]:
        """Write the pictures of the best and worst images, and describe them."""
        shown = [one for one in details.images if one.pictures is not None]
        colours, found = palette or class_palette(details.classes), []

        def save(kind: str, number: int, image: ImageScore) -> None:
            file = f"{kind}_{number}.jpg"
            data = example_picture(**image.pictures, palette=colours)
            path = Path(runner.log_dir, "vis_data", EXAMPLES, file)
            write_beside(path, lambda out: out.write(data))
            found.append(dict(kind=kind, file=file, path=image.path, mIoU=_rounded(image.miou)))

        for kind, images in zip(("best", "worst"), best_and_worst(shown, count)):
            for number, image in enumerate(images, 1):
                save(kind, number, image)
        return found

    @staticmethod
    def _write_page(runner) -> None:
        try:
            write_report(runner.work_dir)
        except Exception as error:
            runner.logger.warning(f"{PAGE} could not be written: {type(error).__name__}: {error}")


def _rounded(miou: float) -> float | None:
    return None if miou != miou else round(miou, 2)


def validation_details(runner) -> tuple[str, EvaluationDetails | None]:
    """The deployed network's name ('' if it has none) and what its validation found."""
    model = unwrapped_model(runner)
    name = model.predict_on if getattr(model, "network_names", None) else None
    by_network = getattr(runner.val_loop, "details", None)
    if by_network is None:  # a loop of mmengine's
        found = [getattr(metric, "details", None) for metric in runner.val_evaluator.metrics]
        by_network = {name: next((one for one in found if one is not None), None)}
    return "" if name is None else str(name), by_network.get(name)


def run_info(runner) -> dict[str, Any]:
    """How a training was started and on what; plain values for JSON."""
    model, dataset = unwrapped_model(runner), runner.train_dataloader.dataset
    # runner.val_dataloader would ask a loop that a run without validation does not have.
    validation = None if runner.val_loop is None else runner.val_loop.dataloader
    return dict(
        start_iter=runner.iter,
        max_iters=runner.max_iters,
        started=time.strftime("%Y-%m-%d %H:%M"),
        command=command_line(),
        method=type(model).__name__,
        networks=describe_networks(model, runner._load_from or "a checkpoint"),
        deployed=str(model.predict_on) if getattr(model, "network_names", None) else None,
        data=describe_data(dataset),
        split=getattr(dataset, "split_info", None),
        validation_images=None if validation is None else len(validation.dataset),
        seed=runner.seed,
        deterministic=runner.deterministic,
        processes=get_world_size(),
        load_from=runner._load_from,
        environment=environment(),
    )


def environment() -> dict[str, str]:
    """Machine and versions, and the commit of a checkout of ours."""
    cpus = cpu_names()
    found = dict(
        python=platform.python_version(),
        system=platform.platform(),
        cpu=f"{len(cpus)} x {cpus[0]}",
    )
    if torch.cuda.is_available():
        found["gpu"] = f"{torch.cuda.device_count()} x {torch.cuda.get_device_name()}"
    for name in _PACKAGES:
        found[name] = str(getattr(import_module(name), "__version__", "?"))
    root = Path(__file__).resolve().parents[3]
    if (root / ".git").exists():
        command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12"]
        answer = subprocess.run(command, capture_output=True, text=True, check=False)
        if answer.returncode == 0:
            found["mmsemi commit"] = answer.stdout.strip()
    return found
