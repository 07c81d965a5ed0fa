# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Measuring one config: step, floor, loader, teacher update, memory."""

from __future__ import annotations

import copy
import platform
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm
from mmengine.optim import build_optim_wrapper
from mmseg.registry import HOOKS, MODELS
from torch import nn

from .batches import LoadSample, file_loader, fresh, load_batch, make_batch
from .floors import find_floor, members, plain_optimizers


def drop_pretrained(config: Any) -> Any:
    """A copy of a model config that loads no weight file: they do not change the time."""
    if isinstance(config, dict):
        is_file = isinstance(config.get("init_cfg"), dict) and (
            config["init_cfg"].get("type") == "Pretrained"
        )
        return {
            key: None
            if key == "pretrained" or (key == "init_cfg" and is_file)
            else drop_pretrained(v)
            for key, v in config.items()
        }
    if isinstance(config, (list, tuple)):
        return type(config)(drop_pretrained(item) for item in config)
    return config


def build_model(config: Config, device: torch.device) -> nn.Module:
    """The config's model in train mode, with random weights and plain batch norm."""
    model = MODELS.build(drop_pretrained(config.model.to_dict()))
    model.init_weights()
    if getattr(model, "has_teacher", False):
        model.teacher_hook_attached = True
        model.update_teacher = lambda: None  # the average is timed on its own
    return revert_sync_batchnorm(model).to(device).train()


class Timing(NamedTuple):
    """One run: seconds on the clock, seconds of this process's CPU time, what it returned."""

    seconds: float
    cpu_seconds: float
    result: Any


def timed(run: Callable[[], Any], device: torch.device) -> Timing:
    """Run once; the device's work is included in the time on the clock."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    start, cpu_start = time.perf_counter(), time.process_time()
    result = run()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return Timing(time.perf_counter() - start, time.process_time() - cpu_start, result)


def quartiles(values: Sequence[float]) -> dict[str, float]:
    """First quartile, median and third quartile."""
    if len(values) == 1:
        return dict(q1=values[0], median=values[0], q3=values[0])
    q1, median, q3 = statistics.quantiles(values, n=4, method="inclusive")
    return dict(q1=q1, median=median, q3=q3)


def peak_memory_mib(run: Callable[[], Any], device: torch.device) -> float:
    """Peak memory in MiB: of the device during ``run``, or of this process so far on the CPU."""
    if device.type != "cuda":
        scale = 2**20 if sys.platform == "darwin" else 2**10
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / scale
    torch.cuda.reset_peak_memory_stats(device)
    run()
    return torch.cuda.max_memory_allocated(device) / 2**20


def has_dropout(model: nn.Module) -> bool:
    """Whether two forwards of the model on one input may differ."""
    return bool(getattr(model, "semi_train_cfg", {}).get("feature_dropout")) or any(
        getattr(module, "p", 0) > 0 or getattr(module, "drop_prob", 0) > 0
        for module in model.modules()
        if "drop" in type(module).__name__.lower()
    )


def measure_loader(load: LoadSample, counts: dict[str, int], seconds: float) -> dict[str, float]:
    """Images per second of each source in one process, measured for about ``seconds`` in all."""
    speeds = {}
    for source in [source for source, count in counts.items() if count]:
        load(source, 0)
        start, number = time.perf_counter(), 0
        while number < 4 or time.perf_counter() - start < seconds / len(counts):
            number += 1
            load(source, number)
        speeds[source] = number / (time.perf_counter() - start)
    return speeds


def measure_ema(model: nn.Module, device: torch.device, repeats: int = 20) -> float | None:
    """Median seconds of one teacher update, or None for a model without a teacher."""
    if not getattr(model, "has_teacher", False):
        return None
    configs = [c for c in model.required_hooks() if c["type"] == "MeanTeacherHook"]
    hook = HOOKS.build(configs[0] if configs else dict(type="MeanTeacherHook"))
    hook._pair(model)

    @torch.no_grad()
    def update() -> None:
        hook._averaged.lerp(hook.momentum)
        hook._copied.copy()

    return statistics.median(timed(update, device).seconds for _ in range(repeats))


def run_benchmark(
    config: Config,
    *,
    pairs: int = 30,
    warmup: int = 5,
    device: str | torch.device = "cpu",
    data: str = "synthetic",
    image_hw: Sequence[int] = (375, 500),
    loader_seconds: float = 4.0,
) -> dict[str, Any]:
    """Measure step, floor, loader, teacher update and memory of a training config.

    Args:
        config: A whole training config.
        pairs: Measured pairs of floor and step.
        warmup: Pairs before them.
        device: Where to train.
        data: 'synthetic' or 'config', see :mod:`mmsemi.benchmark`.
        image_hw: Size of the image file whose loading is timed with synthetic data.
        loader_seconds: Time spent on timing the loader; 0 leaves it out.

    Returns:
        JSON-ready results; times are in seconds. ``cpu_ratio`` is the ratio of CPU times, which
        other processes on the machine disturb less. ``floor`` and the ratios are None, and
        ``floor_note`` says why, where no floor is known.
    """
    device = torch.device(device)
    torch.manual_seed(0)
    if device.type == "cuda":
        torch.backends.cudnn.benchmark = bool(config.get("env_cfg", {}).get("cudnn_benchmark"))
    model = build_model(config, device)
    wrapper = build_optim_wrapper(model, copy.deepcopy(config.optim_wrapper))
    for one in members(wrapper):
        for group in one.param_groups:
            group["lr"] = 0.0
    if data == "config":
        batch, load = load_batch(config)
    else:
        batch, load = make_batch(config, model.num_classes), None

    # Ready tensors: the very branches that the step makes of this batch.
    ready = model.data_preprocessor(fresh(batch), training=True)
    floor_loss, note = find_floor(model, wrapper)
    optimizers = plain_optimizers(wrapper) if floor_loss else []

    def run_floor() -> torch.Tensor:
        loss = floor_loss(model, ready["inputs"], ready["data_samples"])
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
        return loss.detach()

    timings: dict[str, list[Timing]] = dict(step=[], floor=[], preprocessor=[])
    value: dict[str, float] = {}
    for number in range(warmup + pairs):
        copies = fresh(batch), fresh(batch)
        runs: dict[str, Callable] = {"step": lambda b=copies[0]: model.train_step(b, wrapper)}
        if floor_loss:
            runs["floor"] = run_floor
        order = list(runs) if number % 2 else list(runs)[::-1]
        for name in order:
            one = timed(runs[name], device)
            timings[name].append(one._replace(result=None))  # which holds on to the graph
            value[name] = float((one.result["loss"] if name == "step" else one.result).detach())
        timings["preprocessor"].append(
            timed(lambda b=copies[1]: len(model.data_preprocessor(b, training=True)), device)
        )

    timings = {name: all_of_it[warmup:] for name, all_of_it in timings.items()}
    seconds = {name: [one.seconds for one in own] for name, own in timings.items()}
    counts = dict(config.train_dataloader.sampler.num_per_source)
    step = quartiles(seconds["step"])
    results: dict[str, Any] = dict(
        method=type(model).__name__,
        mix=ready["inputs"].get("mix") is not None,
        counts=counts,
        crop_hw=list(ready["inputs"]["sup"].shape[-2:]),
        data=data,
        device=torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        threads=torch.get_num_threads(),
        torch=torch.__version__,
        python=platform.python_version(),
        pairs=pairs,
        step=step,
        floor=None,
        ratio=None,
        cpu_ratio=None,
        floor_note=note,
        loss_difference=None,
        preprocessor=statistics.median(seconds["preprocessor"]),
        ema=measure_ema(model, device),
        images_per_second=sum(counts.values()) / step["median"],
    )
    if floor_loss:
        results["floor"] = quartiles(seconds["floor"])
        in_pairs = list(zip(timings["step"], timings["floor"]))
        results["ratio"] = quartiles([s.seconds / f.seconds for s, f in in_pairs])
        if device.type == "cpu":
            results["cpu_ratio"] = quartiles([s.cpu_seconds / f.cpu_seconds for s, f in in_pairs])
        if not has_dropout(model):
            difference = abs(value["step"] - value["floor"]) / abs(value["floor"])
            results["loss_difference"] = difference
            if not difference < 1e-3:
                results["floor_note"] = "the floor computes another loss than the step: no ratio"
                results["ratio"] = results["cpu_ratio"] = None
    last = fresh(batch)
    results["memory_mib"] = dict(
        step=peak_memory_mib(lambda: model.train_step(last, wrapper), device)
    )
    if floor_loss and device.type == "cuda":
        results["memory_mib"]["floor"] = peak_memory_mib(run_floor, device)
    if loader_seconds > 0:
        with tempfile.TemporaryDirectory() as folder:
            load = load or file_loader(config, folder, image_hw)
            results["loader"] = measure_loader(load, counts, loader_seconds)
            results["image_hw"] = None if data == "config" else list(image_hw)
    return results
