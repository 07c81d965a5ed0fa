# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Strong views and the teacher update, each against the way it is usually written.

The runs that are compared alternate, and so does their order, as in the benchmark of a whole step;
ratios (ours / the usual way, below 1 is faster) are taken within each round.
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmseg.registry import HOOKS, MODELS
from PIL import Image, ImageFilter
from torch import Tensor, nn
from torchvision.models import resnet101
from torchvision.transforms import ColorJitter, Compose, RandomApply, RandomGrayscale
from torchvision.transforms.functional import to_tensor

from ..launch import UsageError
from .measure import Timing, quartiles, timed

Run = Callable[[], Any]
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
        and ``cpu_ratio``, the ratio of CPU times, which is None where a device does the work.
    """
    runs = [ours, *others.values()]
    rounds: list[list[Timing]] = []
    for number in range(warmup + pairs):
        one: dict[int, Timing] = {}
        for i in range(len(runs)) if number % 2 else reversed(range(len(runs))):
            one[i] = timed(runs[i], device)._replace(result=None)
        rounds.append([one[i] for i in range(len(runs))])
    rounds = rounds[warmup:]
    return dict(
        ours=quartiles([own.seconds / units for own, *_ in rounds]),
        others={
            name: dict(
                seconds=quartiles([one[i].seconds / units for one in rounds]),
                ratio=quartiles([one[0].seconds / one[i].seconds for one in rounds]),
                cpu_ratio=quartiles([one[0].cpu_seconds / one[i].cpu_seconds for one in rounds])
                if device.type == "cpu"
                else None,
            )
            for i, name in enumerate(others, start=1)
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


class TeacherStudent(nn.Module):
    """Two copies of a network, as :class:`~mmsemi.engine.hooks.MeanTeacherHook` expects them."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.student, self.teacher = network, copy.deepcopy(network)


def teacher_updates(model: TeacherStudent, momentum: float = 0.004) -> dict[str, Run]:
    """Ours and the usual ways to update a teacher, all to the same result.

    Parameters are averaged, buffers copied.
    """
    hook = HOOKS.build(dict(type="MeanTeacherHook", momentum=momentum, buffers="copy"))
    hook._pair(model)
    parameters = list(zip(model.teacher.parameters(), model.student.parameters()))
    buffers = list(zip(model.teacher.buffers(), model.student.buffers()))

    @torch.no_grad()
    def ours() -> None:
        hook._averaged.lerp(momentum)
        hook._copied.copy()

    def tensor_by_tensor(average: Callable[[Tensor, Tensor], Any]) -> Run:
        @torch.no_grad()
        def update() -> None:
            for teacher, student in parameters:
                average(teacher, student)
            for teacher, student in buffers:
                teacher.copy_(student)

        return update

    @torch.no_grad()
    def published() -> None:
        for teacher, student in zip(model.teacher.parameters(), model.student.parameters()):
            teacher.data.mul_(1 - momentum).add_(student.data, alpha=momentum)
        for teacher, student in zip(model.teacher.buffers(), model.student.buffers()):
            teacher.data.copy_(student.data)

    return {
        "ours": ours,
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
    runs = teacher_updates(TeacherStudent(resnet101()).to(device))
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
    """The command line of ``tools/benchmark_parts.py``."""
    parser = argparse.ArgumentParser(
        description="Time strong views and the teacher update against the way they are usually "
        "written. Ratios are ours / the usual way."
    )
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument(
        "--crop", type=int, nargs="+", default=[321, 518], help="sizes of the views"
    )
    parser.add_argument("--batch", type=int, default=8, help="images in a batch of strong views")
    parser.add_argument("--pairs", type=int, default=30, help="measured rounds")
    parser.add_argument("--warmup", type=int, default=3, help="rounds before them")
    parser.add_argument("--threads", type=int, default=1, help="torch threads")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", help="also write the results into this JSON file")
    args = parser.parse_args(arguments)
    try:
        for name, values, lowest in (
            ("crop", args.crop, 1),
            ("batch", [args.batch], 1),
            ("pairs", [args.pairs], 1),
            ("warmup", [args.warmup], 0),
            ("threads", [args.threads], 1),
        ):
            if min(values) < lowest:
                raise UsageError(f"--{name} {min(values)} must be at least {lowest}")
        try:
            device = torch.device(args.device)
        except RuntimeError as error:
            raise UsageError(f"--device {args.device}: torch knows no such device") from error
        if device.type not in ("cpu", "cuda"):
            raise UsageError(f"--device {args.device}: cpu or cuda")
        if device.type == "cuda" and not torch.cuda.is_available():
            raise UsageError(f"--device {args.device}: torch finds no CUDA device")
    except UsageError as error:
        print(f"benchmark_parts.py: error: {error}", file=sys.stderr)
        return 2
    torch.manual_seed(0)
    torch.set_num_threads(args.threads)
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    print(f"{where}, {args.threads} thread(s), torch {torch.__version__}, {args.pairs} rounds")
    results: dict[str, Any] = dict(
        device=where, threads=args.threads, torch=torch.__version__, pairs=args.pairs, parts={}
    )
    how = dict(device=device, pairs=args.pairs, warmup=args.warmup)
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
    if args.out:
        Path(args.out).parent.mkdir(parents=True, exist_ok=True)
        Path(args.out).write_text(json.dumps(results, indent=2) + "\n")
    return 0
