# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Strong views and the teacher's update, each against the way it is usually written.

    python -m benchmarks.parts [--parts strong ema] [--crop 321 518] [--device cuda] [--out r.json]

Ratios are ours / the usual way, below 1 is faster.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from mmseg.registry import MODELS
from PIL import Image, ImageFilter
from torch import Tensor, nn
from torchvision.models import resnet101
from torchvision.transforms import ColorJitter, Compose, RandomApply, RandomGrayscale
from torchvision.transforms.functional import to_tensor

from mmsemi.models.ema import EMATeacher

from .timing import (
    Run,
    add_arguments,
    alternate,
    device_name,
    quartiles,
    ratios,
    whole_number,
    write_results,
)

PARTS = ("strong", "ema")


class PillowBlur:
    """Gaussian blur of a Pillow image with a radius from U[0.1, 2]."""

    def __call__(self, image: Image.Image) -> Image.Image:
        radius = 0.1 + 1.9 * torch.rand(()).item()
        return image.filter(ImageFilter.GaussianBlur(radius=radius))


def pillow_strong_view() -> Callable[[Image.Image], Image.Image]:
    """The strong view as the published code makes it: torchvision on a Pillow image."""
    return Compose(
        [
            RandomApply([ColorJitter(0.5, 0.5, 0.5, 0.25)], p=0.8),
            RandomGrayscale(0.2),
            RandomApply([PillowBlur()], p=0.5),
        ]
    )


def compare(
    ours: Run, others: dict[str, Run], device: torch.device, pairs: int, warmup: int, units: int = 1
) -> dict[str, Any]:
    """Time a run against others.

    Args:
        ours: What is measured.
        others: What it is compared with, by name.
        device: Where ``ours`` works.
        pairs: Rounds that count.
        warmup: Rounds before them.
        units: Images, say, in a run; times are per unit.

    Returns:
        ``ours``: quartiles of seconds; ``others``: by name the quartiles of ``seconds``, ``ratio``
        and ``cpu_ratio``, see :func:`~benchmarks.timing.ratios`.
    """
    timings = alternate({"ours": ours, **others}, device, pairs, warmup)
    seconds = {
        name: quartiles([one.seconds / units for one in rounds]) for name, rounds in timings.items()
    }
    return dict(
        ours=seconds["ours"],
        others={
            name: dict(seconds=seconds[name], **ratios(timings["ours"], timings[name], device))
            for name in others
        },
    )


def compare_strong_views(
    size: int, batch: int, device: torch.device, pairs: int, warmup: int
) -> dict[str, Any]:
    """Times per image, from decoded 8-bit images to a float tensor on ``device``."""
    random = np.random.RandomState(0)
    images = [
        Image.fromarray(random.randint(0, 256, (12, 12, 3)).astype(np.uint8)).resize((size, size))
        for _ in range(batch)
    ]
    pixels = torch.stack([torch.from_numpy(np.array(i)).permute(2, 0, 1) for i in images])
    pixels = pixels.contiguous()
    strong, generator = MODELS.build(dict(type="StrongPhotometric")), torch.Generator()
    pillow = pillow_strong_view()

    def ours() -> Tensor:
        return strong(pixels.to(device).float().div_(255), generator)

    def published() -> Tensor:
        return torch.stack([to_tensor(pillow(image)) for image in images]).to(device)

    others = {"torchvision on Pillow images": published}
    return compare(ours, others, device, pairs, warmup, units=batch)


def teacher_updates(
    student: nn.Module, teacher: EMATeacher | None = None, momentum: float = 0.004
) -> dict[str, Run]:
    """Ours and the usual ways to update a teacher, all to the same result.

    Parameters are averaged, buffers copied.

    Args:
        student: Where the teacher moves to.
        teacher: Default: a new one.
        momentum: Weight of the new value.
    """
    teacher = teacher or EMATeacher(student, momentum, buffers="copy")
    teacher.start(student)
    net = teacher.module
    parameters = list(zip(net.parameters(), student.parameters()))
    buffers = list(zip(net.buffers(), student.buffers()))

    def tensor_by_tensor(average: Callable[[Tensor, Tensor], Any]) -> Run:
        @torch.no_grad()
        def update() -> None:
            for old, new in parameters:
                average(old, new)
            for old, new in buffers:
                old.copy_(new)

        return update

    @torch.no_grad()
    def published() -> None:
        for old, new in zip(net.parameters(), student.parameters()):
            old.data.mul_(1 - momentum).add_(new.data, alpha=momentum)
        for old, new in zip(net.buffers(), student.buffers()):
            old.data.copy_(new.data)

    return {
        "ours": teacher.update,
        "mul_ and add_ of parameters()": published,
        "copy_ of a sum, each tensor": tensor_by_tensor(
            lambda t, s: t.copy_(t * (1 - momentum) + s * momentum)
        ),
        "mul_ and add_ of each tensor": tensor_by_tensor(
            lambda t, s: t.mul_(1 - momentum).add_(s, alpha=momentum)
        ),
        "lerp_ of each tensor": tensor_by_tensor(lambda t, s: t.lerp_(s, momentum)),
    }


def compare_teacher_update(device: torch.device, pairs: int, warmup: int) -> dict[str, Any]:
    """Times of one update of a ResNet-101."""
    runs = teacher_updates(resnet101().to(device))
    return compare(runs.pop("ours"), runs, device, pairs, warmup)


def format_part(name: str, result: dict[str, Any]) -> str:
    """One result as lines of text."""
    lines = [f"{name}\n  {'ours':<30}{result['ours']['median'] * 1e3:9.3f} ms"]
    for other, r in result["others"].items():
        q1, median, q3 = (r["ratio"][key] for key in ("q1", "median", "q3"))
        cpu = f", of CPU time {r['cpu_ratio']['median']:.2f}" if r["cpu_ratio"] else ""
        lines.append(
            f"  {other:<30}{r['seconds']['median'] * 1e3:9.3f} ms, ratio {median:.2f} "
            f"(quartiles {q1:.2f} .. {q3:.2f}){cpu}: ours is {1 / median:.2f} times as fast"
        )
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.parts",
        description="Time strong views and the teacher's update against the way they are usually "
        "written. Ratios are ours / the usual way.",
    )
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument(
        "--crop", type=whole_number(1), nargs="+", default=[321, 518], help="sizes of the views"
    )
    parser.add_argument(
        "--batch", type=whole_number(1), default=8, help="images in a batch of strong views"
    )
    add_arguments(parser)
    args = parser.parse_args(arguments)
    torch.manual_seed(0)
    torch.set_num_threads(args.threads)
    where = device_name(args.device)
    print(f"{where}, {args.threads} thread(s), torch {torch.__version__}, {args.pairs} rounds")
    results: dict[str, Any] = dict(
        device=where, threads=args.threads, torch=torch.__version__, pairs=args.pairs, parts={}
    )
    how = dict(device=args.device, pairs=args.pairs, warmup=args.warmup)
    runs: dict[str, Run] = {}
    if "strong" in args.parts:
        for size in args.crop:
            name = f"strong view {size}x{size}, per image in a batch of {args.batch}"
            runs[name] = lambda size=size: compare_strong_views(size, args.batch, **how)
    if "ema" in args.parts:
        runs["teacher update of a ResNet-101"] = lambda: compare_teacher_update(**how)
    for name, run in runs.items():
        results["parts"][name] = run()
        print(format_part(name, results["parts"][name]), flush=True)
    write_results(args.out, results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
