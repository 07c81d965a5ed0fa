# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""A training step of the large configs on one GPU beside what is published and what we aim at, and where its time goes.

    python -m benchmarks.gpu_goals [case ...] [--out goals.json]
    python -m benchmarks.gpu_goals --device cpu                # the same with small crops and few images

Random weights and data. Seconds are medians of whole steps, the transfer of the batch included, the loader not. ``busy``
is the share of a step in which the device runs kernels: the rest it waits for Python. The operators with the most
time of the device follow; those of the CPU in the CPU form.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from mmsemi.cli import run
from mmsemi.utils.config_files import parse_options, read_config

from .batches import fresh, make_batch, set_crop
from .measure import build_training
from .timing import add_arguments, device_name, peak_memory_mib, quartiles, timed, write_results

BF16 = ("optim_wrapper.type=AmpOptimWrapper", "optim_wrapper.dtype=bfloat16")


class Case(NamedTuple):
    """What is measured.

    Attributes:
        config: As ``mmsemi train`` takes it.
        images: Labelled ones of a step, and as many unlabelled ones.
        crop: Pixels of a side.
        small: That of the CPU form.
        options: Settings beside the config's.
        encoder: Name of another encoder of the config's base.
        is_mixed: Whether it trains in bfloat16; the CPU form does not.
        published: Seconds per iteration, and on what.
        goal: Ours on one H200.
    """

    config: str
    images: int
    crop: int
    small: int
    options: tuple[str, ...] = ()
    encoder: str = ""
    is_mixed: bool = False
    published: str = ""
    goal: float | None = None


V2 = Case("unimatch_v2/voc_366", images=16, crop=518, small=98, is_mixed=True)
CASES = dict(
    v2_dinov2_b=V2._replace(encoder="dinov2_base", published="1.16 s on 4 A100", goal=0.25),
    unimatch_r101=Case("unimatch/voc_366", 8, 321, 97, published="0.68 s on 4 GPUs", goal=0.12),
    v2_dinov2_s=V2,
    v2_dinov2_s_frozen=V2._replace(options=("model.frozen_encoder=True",)),
)


def read_case(case: Case, is_small: bool) -> Config:
    """The config of a case."""
    options = [*case.options, *(BF16 if case.is_mixed and not is_small else ())]
    config = read_config(case.config, parse_options(options))
    if case.encoder:
        config.merge_from_dict(dict(model=dict(segmentor=config[case.encoder].to_dict())))
    set_crop(config, case.small if is_small else case.crop)
    counts = config.train_dataloader.sampler.num_per_source
    for source in ("labeled", "unlabeled"):
        counts[source] = 2 if is_small else case.images
    return config


def measure(config: Config, device: torch.device, steps: int, warmup: int) -> dict[str, Any]:
    """Time and profile training steps.

    Returns:
        ``seconds``: quartiles; ``memory_mib``: peak; ``busy``: share, None on the CPU; ``operators``: those with
        the most time, in seconds of a step.
    """
    model, wrapper = build_training(config, device)
    batch = make_batch(config, model.num_classes)

    def step() -> None:
        model.train_step(fresh(batch), wrapper)

    seconds = [timed(step, device).seconds for _ in range(warmup + steps)][warmup:]
    memory = peak_memory_mib(step, device)
    is_gpu = device.type == "cuda"
    kinds = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if is_gpu else [])]
    with profile(activities=kinds) as profiled:
        whole = timed(step, device).seconds
    events = list(profiled.key_averages())

    def own(event: Any) -> float:
        return (event.self_device_time_total if is_gpu else event.self_cpu_time_total) / 1e6

    # The time of a kernel is also that of the operator which has launched it.
    kernels = [event for event in events if event.device_type != DeviceType.CPU]
    operators = sorted(((own(e), e.key) for e in events if e not in kernels), reverse=True)
    return dict(
        seconds=quartiles(seconds),
        memory_mib=memory,
        busy=sum(map(own, kernels)) / whole if is_gpu else None,
        operators={name: round(time, 5) for time, name in operators[:10]},
    )


def describe(name: str, case: Case, found: dict[str, Any]) -> str:
    """What was measured, for people."""
    goal = f"; goal {case.goal} s on one H200" if case.goal else ""
    published = f"; published: {case.published}" if case.published else ""
    busy = "" if found["busy"] is None else f", kernels run {found['busy']:.0%} of the time"
    head = (
        f"{name}: {found['seconds']['median']:.3f} s per iteration, {found['memory_mib']:.0f} MiB{busy} "
        f"({found['images']} + {found['images']} images, crop {found['crop']}, {found['device']}{published}{goal})"
    )
    return "\n".join([head, *(f"    {t:8.4f} s  {op}" for op, t in found["operators"].items())])


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description="Time and profile the large configs on one GPU.")
    parser.add_argument("cases", nargs="*", metavar="case", help=f"of {', '.join(CASES)}; all")
    add_arguments(parser)
    parser.set_defaults(pairs=20, device="cuda")
    args = parser.parse_args(arguments)
    unknown = set(args.cases) - set(CASES)
    if unknown:
        parser.error(f"there is no case {', '.join(sorted(unknown))}, only {', '.join(CASES)}")
    device = args.device
    torch.set_num_threads(args.threads)
    MMLogger.get_current_instance().setLevel("WARNING")  # a line for every parameter
    results = {}
    for name in args.cases or CASES:
        config = read_case(CASES[name], is_small=device.type == "cpu")
        init_default_scope(config.get("default_scope", "mmseg"))
        found = measure(config, device, args.pairs, args.warmup)
        found["images"] = config.train_dataloader.sampler.num_per_source.labeled
        found["crop"] = config.train_dataloader.dataset.crop_size[0]
        found["device"] = device_name(device)
        results[name] = found
        print(describe(name, CASES[name], found), flush=True)
    write_results(args.out, results)
    return 0


if __name__ == "__main__":
    sys.exit(run("benchmarks.gpu_goals", sys.argv[1:], "gpu_goals"))
