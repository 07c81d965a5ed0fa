# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""CAC's contrastive loss, forward and backward, against one that builds the whole matrix.

    python -m benchmarks.contrastive [--anchors 1500] [--rows 51200] [--channels 128] [--out r.json]

Each run has a process of its own, so that one does not find the memory of another: time, and how
much the peak of its resident memory is above what it held before (Linux). Medians of ``--pairs``
runs; they alternate. A first run in each process, on 64 anchors, is not measured.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from mmsemi.models.losses import Pixels, directional_contrastive_loss

from .timing import device, device_name, peak_memory_mib, timed, whole_number, write_results

Given = tuple[Pixels, Pixels, Tensor, Tensor]
CLASSES, TEMPERATURE, THRESHOLD = 21, 0.1, 0.75


def make_pixels(anchors: int, rows: int, channels: int, where: torch.device) -> Given:
    """Random unit vectors, labels and confidences of two views, and a bank."""
    torch.manual_seed(0)

    def view() -> Pixels:
        features = F.normalize(torch.randn(anchors, channels, device=where), dim=1)
        labels = torch.randint(CLASSES, (anchors,), device=where)
        return Pixels(features.requires_grad_(), labels, torch.rand(anchors, device=where))

    bank = F.normalize(torch.randn(rows, channels, device=where), dim=1)
    return view(), view(), bank, torch.randint(CLASSES, (rows,), device=where)


def streamed(first: Pixels, second: Pixels, bank: Tensor, labels: Tensor) -> Tensor:
    """Ours."""
    found = directional_contrastive_loss(
        first, second, bank, labels, temperature=TEMPERATURE, threshold=THRESHOLD
    )
    return found.first + found.second


def whole_matrix(first: Pixels, second: Pixels, bank: Tensor, labels: Tensor) -> Tensor:
    """The same loss as it is usually written: each direction has all its products at once."""
    loss = first.features_ND.new_zeros(())
    for anchor, target in ((first, second), (second, first)):
        positive = (anchor.features_ND * target.features_ND.detach()).sum(1) / TEMPERATURE
        products = anchor.features_ND @ bank.T / TEMPERATURE
        products = products.masked_fill(anchor.label_N[:, None] == labels, -torch.inf)
        each = torch.cat([positive[:, None], products], 1).logsumexp(1) - positive
        selected = target.confidence_N > THRESHOLD
        selected = (selected & (anchor.confidence_N < target.confidence_N)).float()
        loss = loss + (each * selected).sum() / selected.sum().clamp(min=1)
    return loss


FORMS = dict(streamed=streamed, whole_matrix=whole_matrix)


def resident_mib() -> float:
    """Memory of this process at present, in MiB (Linux)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20


def measure(form: str, anchors: int, rows: int, channels: int, where: torch.device) -> dict:
    """Time and growth of the peak memory of one forward and backward in this process."""
    loss = FORMS[form]
    loss(*make_pixels(64, 1024, channels, where)).backward()
    given, found = make_pixels(anchors, rows, channels, where), {}

    def run() -> None:
        value = loss(*given)
        (gradient,) = torch.autograd.grad(value, given[0].features_ND)
        found.update(loss=value.item(), gradient=gradient.norm().item())

    if where.type == "cuda":
        timing, before = timed(run, where), torch.cuda.memory_allocated(where) / 2**20
        growth = peak_memory_mib(run, where) - before
    else:
        before, timing = resident_mib(), timed(run, where)
        growth = peak_memory_mib(run, where) - before  # of the process so far: it does not run
    # The counters differ by a little, and too little cannot be divided by.
    return dict(growth_mib=max(growth, 0.01), **timing._asdict(), **found)


def measure_apart(form: str, arguments: argparse.Namespace) -> dict:
    """:func:`measure` in a process of its own."""
    command = [
        sys.executable,
        "-m",
        __spec__.name,
        "--one",
        form,
        "--device",
        str(arguments.device),
    ]
    for name in ("anchors", "rows", "channels", "threads"):
        command += [f"--{name}", str(getattr(arguments, name))]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.contrastive", description=__doc__.splitlines()[0]
    )
    number = whole_number(1)
    parser.add_argument("--anchors", type=number, default=1500, help="pixels of the overlaps")
    parser.add_argument("--rows", type=number, default=51200, help="rows of the bank")
    parser.add_argument("--channels", type=number, default=128)
    parser.add_argument("--pairs", type=number, default=5, help="runs of each")
    parser.add_argument("--threads", type=number, default=1, help="torch threads")
    parser.add_argument("--device", type=device, default="cpu")
    parser.add_argument("--out", help="also write the results into this JSON file")
    parser.add_argument("--one", choices=list(FORMS), help=argparse.SUPPRESS)
    args = parser.parse_args(arguments)
    torch.set_num_threads(args.threads)
    if args.one:
        print(json.dumps(measure(args.one, args.anchors, args.rows, args.channels, args.device)))
        return 0
    runs: dict[str, list[dict]] = {form: [] for form in FORMS}
    for pair in range(args.pairs):
        for form in list(FORMS) if pair % 2 else reversed(FORMS):
            runs[form].append(measure_apart(form, args))
    results = {
        form: {key: statistics.median(run[key] for run in own) for key in own[0]}
        for form, own in runs.items()
    }
    print(
        f"{args.anchors} anchors, {args.rows} rows, {args.channels} channels; medians of {args.pairs} "
        f"runs on {device_name(args.device)}, {args.threads} thread(s), torch {torch.__version__}"
    )
    for form, own in results.items():
        print(
            f"  {form:<13}{own['seconds']:8.3f} s  CPU {own['cpu_seconds']:8.3f} s  "
            f"+{own['growth_mib']:8.1f} MiB  loss {own['loss']:.6f}  gradient {own['gradient']:.6f}"
        )
    ours, other = results["streamed"], results["whole_matrix"]
    ratios = {key: ours[key] / other[key] for key in ("seconds", "cpu_seconds", "growth_mib")}
    print("  ratios       " + ", ".join(f"{key} {value:.3f}" for key, value in ratios.items()))
    settings = {key: str(value) for key, value in vars(args).items() if key not in ("out", "one")}
    write_results(args.out, dict(settings=settings, **results, ratios=ratios))
    return 0


if __name__ == "__main__":
    sys.exit(main())
