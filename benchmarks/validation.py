# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""A validation of all networks of a model, against one pass over the data for each network.

    python -m benchmarks.validation configs/fixmatch/shapes_1-8.py [--image 360 480] [--window 160]

The other side is what mmengine and mmseg have: every network reads the data once more, and each
window has a forward of its own. Both run on the same image files and weights, in one process, and
alternate; metrics and labels are compared.
"""

from __future__ import annotations

import argparse
import copy
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from mmengine.config import Config
from mmengine.evaluator import BaseMetric, Evaluator
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmseg.registry import METRICS
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader

from mmsemi.models.segmentors import predicting
from mmsemi.utils.config_files import read_config

from .measure import build_model
from .timing import (
    add_arguments,
    alternate,
    device_name,
    quartiles,
    ratios,
    whole_number,
    write_results,
)

Metrics = dict[str, float]


class Labels(BaseMetric):
    """Keeps the predicted labels of all images, network after network."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[np.ndarray] = []

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Take the labels of a batch."""
        labels = (sample["pred_sem_seg"]["data"] for sample in data_samples)
        self.results += [label.byte().cpu().numpy().ravel() for label in labels]

    def compute_metrics(self, results: list) -> Metrics:
        """They are no metric."""
        self.kept.append(np.concatenate(results))
        return {}


def write_images(folder: Path, images: int, size_hw: Sequence[int], classes: int) -> None:
    """JPEG images and PNG masks of random coarse fields."""
    height, width = size_hw
    generator = np.random.default_rng(0)
    for number in range(images):
        coarse = generator.integers(0, 256, (height // 16 + 1, width // 16 + 1, 3), dtype=np.uint8)
        image = Image.fromarray(coarse).resize((width, height), Image.BICUBIC)
        image.save(folder / f"{number}.jpg", quality=92)
        mask = Image.fromarray(coarse[..., 0] % classes).resize((width, height), Image.NEAREST)
        mask.save(folder / f"{number}.png")


def build_runner(config: Config, model: nn.Module, folder: Path, workers: int) -> Runner:
    """A runner that validates only."""
    names = [str(number) for number in range(model.num_classes)]
    dataset = dict(
        type="BaseSegDataset",
        data_prefix=dict(img_path=str(folder), seg_map_path=str(folder)),
        metainfo=dict(classes=names, palette=[[0, 0, 0]] * len(names)),
        pipeline=config.test_pipeline,
    )
    loader = dict(config.val_dataloader, dataset=dataset, num_workers=workers)
    loader["persistent_workers"] = workers > 0
    with patch.object(Runner, "_log_env"):
        return Runner(
            model=model,
            work_dir=str(folder / "work_dir"),
            val_dataloader=loader,
            val_cfg=dict(type="TeacherStudentValLoop"),
            val_evaluator=[METRICS.build(dict(config.val_evaluator)), Labels()],
            default_hooks=dict(logger=None),
            default_scope="mmseg",
            log_level="ERROR",
            experiment_name=folder.name,
        )


@contextmanager
def one_window_a_forward() -> Iterator[None]:
    """Within, mmseg's own loop over windows runs."""
    with patch.object(predicting, "several_windows", nullcontext):
        yield


@torch.no_grad()
def one_pass_a_network(model: nn.Module, loader: DataLoader, evaluator: Evaluator) -> Metrics:
    """Metrics of all networks, each of which reads the data."""
    model.eval()
    found: Metrics = {}
    main = model.predict_on
    for name in [main, *(other for other in model.network_names if other != main)]:
        with model.predicting_on(name), one_window_a_forward():
            for batch in loader:
                evaluator.process(data_samples=model.val_step(batch), data_batch=batch)
        metrics = evaluator.evaluate(len(loader.dataset))
        found.update(
            metrics if name == main else {f"{name}/{key}": v for key, v in metrics.items()}
        )
    return found


def measure(config: Config, args: argparse.Namespace) -> dict[str, Any]:
    """Seconds of both, their ratio, and whether they found the same."""
    torch.manual_seed(0)
    config = copy.deepcopy(config)
    if args.window:
        crop, stride = (args.window,) * 2, (args.window * 2 // 3,) * 2
        config.model.segmentor.test_cfg = dict(mode="slide", crop_size=crop, stride=stride)
    model = build_model(config, args.device)
    if model.has_teacher:  # another network than the student, as after some training
        for value in model.teacher.module.parameters():
            value.data.mul_(1 + 0.1 * torch.randn_like(value))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_images(folder, args.images, args.image, model.num_classes)
        runner = build_runner(config, model, folder, args.workers)
        loop, found = runner.val_loop, {}
        labels = loop.evaluator.metrics[-1]

        def together() -> None:
            found["together"] = runner.val()

        def apart() -> None:
            found["apart"] = one_pass_a_network(model, loop.dataloader, loop.evaluator)

        timings = alternate(
            dict(together=together, apart=apart), args.device, args.pairs, args.warmup
        )
        labels.kept.clear()
        together()
        apart()
    count = len(labels.kept) // 2
    same = [np.mean(a == b) for a, b in zip(labels.kept[:count], labels.kept[count:])]
    return dict(
        method=type(model).__name__,
        networks=[str(one) for one in model.network_names],
        images=args.images,
        image_hw=list(args.image),
        window=args.window,
        workers=args.workers,
        device=device_name(args.device),
        threads=torch.get_num_threads(),
        pairs=args.pairs,
        **{key: quartiles([one.seconds for one in own]) for key, own in timings.items()},
        **ratios(timings["together"], timings["apart"], args.device),
        same_pixels=float(min(same)),
        metrics={key: {name: float(x) for name, x in one.items()} for key, one in found.items()},
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    number = whole_number(1)
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.validation", description=__doc__.splitlines()[0]
    )
    parser.add_argument("config")
    parser.add_argument("--images", type=number, default=16, help="images of the validation set")
    parser.add_argument("--image", type=number, nargs=2, default=[360, 480], metavar=("H", "W"))
    parser.add_argument("--window", type=whole_number(0), default=0, help="0: as in the config")
    parser.add_argument("--workers", type=whole_number(0), default=0, help="of the loader")
    add_arguments(parser)
    parser.set_defaults(pairs=5, warmup=1)
    args = parser.parse_args(arguments)
    torch.set_num_threads(args.threads)
    init_default_scope("mmseg")
    r = measure(read_config(args.config), args)
    height, width = r["image_hw"]
    print(
        f"{args.config} ({r['method']}: {', '.join(r['networks'])}), {r['images']} images of "
        f"{height}x{width}, window {r['window'] or 'of the config'}, {r['device']}, "
        f"{r['threads']} thread(s), {r['workers']} worker(s)"
    )
    for key, text in (("together", "one pass"), ("apart", "one pass a network")):
        q1, median, q3 = r[key].values()
        print(f"  {text:<19}{median:8.3f} s  (quartiles {q1:.3f} .. {q3:.3f})")
    for key in ("ratio", "cpu_ratio"):
        if r[key]:
            print(f"  {key:<19}{r[key]['median']:8.4f}")
    for key, value in r["metrics"]["together"].items():
        print(f"  {key:<19}{value:8.2f}    {r['metrics']['apart'][key]:8.2f}")
    print(f"  equal pixels       {r['same_pixels']:.6f}")
    write_results(args.out, r)
    return 0


if __name__ == "__main__":
    sys.exit(main())
