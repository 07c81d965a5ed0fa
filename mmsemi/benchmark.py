# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""How long a training step takes, and how far that is from what its mathematics needs.

``tools/benchmark.py CONFIG`` prints what :func:`run_benchmark` measures.

Decisions:

- A *step* is what the training loop runs once a batch is loaded: ``model.train_step`` (preprocessor,
  losses, their parsing, backward, optimiser) on a batch as the loader's workers deliver it.
- The *floor* (:mod:`mmsemi.benchmark_floors`) is a plain torch loop with the same forwards, losses,
  backward and optimiser on tensors that are already on the device.
- Floor and step alternate on one model, and the order within a pair alternates too, so that other
  load on the machine hits both; the ratio is taken within each pair.
- Learning rates are 0: the same work is done, and as the weights stay, the losses of floor and step
  can be compared. A floor with another loss would be the floor of something else.
- By default the batch is made in memory, so that no data set is needed and every machine measures
  the same; ``data='config'`` takes the config's own data set.
"""

from __future__ import annotations

import argparse
import copy
import json
import platform
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmcv.transforms import Compose
from mmengine.config import Config, DictAction
from mmengine.dataset import pseudo_collate
from mmengine.model import revert_sync_batchnorm
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmseg.registry import DATA_SAMPLERS, DATASETS, HOOKS, MODELS
from mmseg.structures import SegDataSample
from PIL import Image
from torch import nn

from .benchmark_floors import find_floor, plain_optimizer
from .launch import UsageError, check_option, find_config, load_config

Batch = dict[str, list]


# --- What is measured -----------------------------------------------------------------------------


def drop_pretrained(config: Any) -> Any:
    """A copy of a model config that loads no weight file: they do not change the time."""
    if isinstance(config, dict):
        is_file = isinstance(config.get("init_cfg"), dict) and (
            config["init_cfg"].get("type") == "Pretrained"
        )
        return {
            key: None if key == "pretrained" or (key == "init_cfg" and is_file) else drop_pretrained(v)
            for key, v in config.items()
        }
    if isinstance(config, (list, tuple)):
        return type(config)(drop_pretrained(item) for item in config)
    return config


def build_model(config: Config, device: torch.device) -> nn.Module:
    """The config's model in train mode, with random weights and, in one process, plain batch norm."""
    model = MODELS.build(drop_pretrained(config.model.to_dict()))
    model.init_weights()
    if getattr(model, "has_teacher", False):
        model.teacher_hook_attached = True
    return revert_sync_batchnorm(model).to(device).train()


def set_crop(config: Config, size: int) -> None:
    """Train on square crops of another size: preprocessor and every ``RandomCrop``."""
    config.model.data_preprocessor.size = (size, size)
    dataset = config.train_dataloader.dataset
    sources = [dataset.labeled, dataset.get("unlabeled"), *(dataset.get("sources") or {}).values()]
    for transform in [t for source in sources if source for t in source.get("pipeline", [])]:
        if transform["type"] == "RandomCrop":
            transform["crop_size"] = (size, size)


def make_batch(config: Config, num_classes: int, seed: int = 0) -> Batch:
    """A collated batch of noise images, with masks for all but the unlabelled source."""
    size = config.model.data_preprocessor.get("size")
    if size is None:
        raise UsageError("model.data_preprocessor.size is not set: give --crop")
    height, width = size
    generator = torch.Generator().manual_seed(seed)
    samples = []
    for source, count in config.train_dataloader.sampler.num_per_source.items():
        for _ in range(count):
            number = len(samples)
            sample = SegDataSample(
                metainfo=dict(img_path=f"{number}.png", source=source, draw_seed=number)
            )
            if source != "unlabeled":
                mask = torch.randint(num_classes, (1, height, width), generator=generator)
                mask[:, : height // 16] = 255
                sample.gt_sem_seg = PixelData(data=mask.to(torch.uint8))
            image = torch.randint(256, (3, height, width), generator=generator, dtype=torch.uint8)
            samples.append(dict(inputs=image, data_samples=sample))
    return pseudo_collate(samples)


def load_batch(config: Config) -> tuple[Batch, Callable[[str, int], Any]]:
    """The first batch of the config's own data set, and a function that loads one sample."""
    dataset = DATASETS.build(config.train_dataloader.dataset)
    sampler = DATA_SAMPLERS.build(dict(config.train_dataloader.sampler, dataset=dataset, seed=0))
    batch = pseudo_collate([dataset[draw] for draw in sampler.batch(0)])
    return batch, lambda source, number: dataset[sampler.draw(source, number)]


def file_loader(config: Config, folder: str, image_hw: Sequence[int]) -> Callable[[str, int], Any]:
    """A function that runs a source's pipeline on one JPEG (and mask) of the given size."""
    height, width = image_hw
    generator = np.random.default_rng(0)
    coarse = generator.integers(0, 256, (height // 16 + 1, width // 16 + 1, 3), dtype=np.uint8)
    image = Image.fromarray(coarse).resize((width, height), Image.BICUBIC)
    image.save(f"{folder}/image.jpg", quality=92)
    mask = Image.fromarray(coarse[..., 0] % 2).resize((width, height), Image.NEAREST)
    mask.save(f"{folder}/mask.png")
    dataset = config.train_dataloader.dataset
    sources = dict(labeled=dataset.labeled, unlabeled=dataset.get("unlabeled"))
    sources.update(dataset.get("sources") or {})
    pipelines = {
        name: Compose(source.pipeline) for name, source in sources.items() if source is not None
    }
    info = dict(img_path=f"{folder}/image.jpg", seg_map_path=f"{folder}/mask.png")
    info.update(label_map=None, reduce_zero_label=False)
    return lambda source, number: pipelines[source](dict(info, seg_fields=[]))


def fresh(batch: Batch) -> Batch:
    """The batch again, for a step that writes into its samples."""
    return dict(inputs=list(batch["inputs"]), data_samples=[s.clone() for s in batch["data_samples"]])


# --- Measuring ------------------------------------------------------------------------------------


def timed(run: Callable[[], Any], device: torch.device) -> tuple[float, Any]:
    """Seconds that ``run`` takes, device work included, and its result."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    start = time.perf_counter()
    result = run()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start, result


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
    return any(
        getattr(module, "p", 0) > 0 or getattr(module, "drop_prob", 0) > 0
        for module in model.modules()
        if "drop" in type(module).__name__.lower()
    )


def measure_loader(
    load: Callable[[str, int], Any], counts: dict[str, int], seconds: float
) -> dict[str, float]:
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
    update = HOOKS.build(configs[0] if configs else dict(type="MeanTeacherHook")).make_update(model)
    return statistics.median(timed(update, device)[0] for _ in range(repeats))


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
        data: 'synthetic' or 'config', see the module docstring.
        image_hw: Size of the image file whose loading is timed with synthetic data.
        loader_seconds: Time spent on timing the loader; 0 leaves it out.

    Returns:
        JSON-ready results; times are in seconds. ``floor`` and ``ratio`` are None, and
        ``floor_note`` says why, where no floor is known.
    """
    device = torch.device(device)
    torch.manual_seed(0)
    if device.type == "cuda":
        torch.backends.cudnn.benchmark = bool(config.get("env_cfg", {}).get("cudnn_benchmark"))
    model = build_model(config, device)
    wrapper = build_optim_wrapper(model, copy.deepcopy(config.optim_wrapper))
    for group in wrapper.param_groups:
        group["lr"] = 0.0
    if data == "config":
        batch, load = load_batch(config)
    else:
        batch, load = make_batch(config, model.num_classes), None

    # Ready tensors: the very branches that the step makes of this batch.
    ready = model.data_preprocessor(fresh(batch), training=True)
    floor_loss, note = find_floor(model, wrapper)
    optimizer = plain_optimizer(wrapper) if floor_loss else None

    def run_floor() -> torch.Tensor:
        loss = floor_loss(model, ready["inputs"], ready["data_samples"])
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss.detach()

    seconds: dict[str, list[float]] = dict(step=[], floor=[], preprocessor=[])
    value: dict[str, float] = {}
    for number in range(warmup + pairs):
        copies = fresh(batch), fresh(batch)
        runs: dict[str, Callable] = {"step": lambda b=copies[0]: model.train_step(b, wrapper)}
        if floor_loss:
            runs["floor"] = run_floor
        order = list(runs) if number % 2 else list(runs)[::-1]
        for name in order:
            used, result = timed(runs[name], device)
            if number >= warmup:
                seconds[name].append(used)
            value[name] = float(result["loss"] if name == "step" else result)
        used, _ = timed(lambda b=copies[1]: model.data_preprocessor(b, training=True), device)
        seconds["preprocessor"].append(used)

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
        floor_note=note,
        loss_difference=None,
        preprocessor=statistics.median(seconds["preprocessor"]),
        ema=measure_ema(model, device),
        images_per_second=sum(counts.values()) / step["median"],
    )
    if floor_loss:
        results["floor"] = quartiles(seconds["floor"])
        results["ratio"] = quartiles([s / f for s, f in zip(seconds["step"], seconds["floor"])])
        if not has_dropout(model):
            difference = abs(value["step"] - value["floor"]) / abs(value["floor"])
            results["loss_difference"] = difference
            if not difference < 1e-3:
                results["floor_note"] = "the floor computes another loss than the step: no floor"
    results["memory_mib"] = dict(
        step=peak_memory_mib(lambda b=fresh(batch): model.train_step(b, wrapper), device)
    )
    if floor_loss and device.type == "cuda":
        results["memory_mib"]["floor"] = peak_memory_mib(run_floor, device)
    if loader_seconds > 0:
        with tempfile.TemporaryDirectory() as folder:
            load = load or file_loader(config, folder, image_hw)
            results["loader"] = measure_loader(load, counts, loader_seconds)
            results["image_hw"] = None if data == "config" else list(image_hw)
    return results


# --- Telling --------------------------------------------------------------------------------------


def format_table(name: str, results: dict[str, Any]) -> str:
    """The results as lines of text."""

    def line(key: str, text: str) -> str:
        return f"{key:<13}{text}"

    def spread(values: dict[str, float], scale: float, digits: int) -> str:
        q1, median, q3 = (f"{values[k] * scale:.{digits}f}" for k in ("q1", "median", "q3"))
        return f"{median}  (quartiles {q1} .. {q3})"

    r = results
    counts = ", ".join(f"{count} {source}" for source, count in r["counts"].items())
    height, width = r["crop_hw"]
    where = r["device"] if r["device"] != "cpu" else f"cpu, {r['threads']} thread(s)"
    lines = [
        line("config", f"{name} ({r['method']}{', mixed' if r['mix'] else ''})"),
        line("batch", f"{counts}, crop {height}x{width}, {r['data']} data"),
        line("machine", f"{where}, torch {r['torch']}"),
        line("step ms", spread(r["step"], 1e3, 2) + f", {r['images_per_second']:.1f} images/s"),
    ]
    if r["ratio"]:
        lines.append(line("floor ms", spread(r["floor"], 1e3, 2)))
        lines.append(line("ratio", spread(r["ratio"], 1, 4) + f", {r['pairs']} pairs"))
    if r["loss_difference"] is not None:
        lines.append(line("loss", f"floor and step differ by {r['loss_difference']:.1e} (relative)"))
    if r["floor_note"]:
        lines.append(line("floor", r["floor_note"]))
    share = r["preprocessor"] / r["step"]["median"]
    lines.append(line("preprocessor", f"{r['preprocessor'] * 1e3:.2f} ms, {share:.1%} of the step"))
    if r["ema"] is not None:
        lines.append(line("teacher EMA", f"{r['ema'] * 1e3:.2f} ms a step, beside the step"))
    memory = ", ".join(f"{key} {value:.0f}" for key, value in r["memory_mib"].items())
    lines.append(line("peak MiB", f"{memory}{' (process)' if r['device'] == 'cpu' else ''}"))
    if r.get("loader"):
        speeds = ", ".join(f"{s} {speed:.1f}" for s, speed in r["loader"].items())
        batch = sum(r["counts"][source] / speed for source, speed in r["loader"].items())
        files = f" (JPEG {r['image_hw'][1]}x{r['image_hw'][0]})" if r["image_hw"] else ""
        lines.append(line("loader", f"{speeds} images/s per worker{files}"))
        lines.append(line("", f"{batch / r['step']['median']:.2f} workers keep up with the step"))
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line of ``tools/benchmark.py``."""
    parser = argparse.ArgumentParser(
        description="Time a training step against a plain torch loop of the same mathematics."
    )
    parser.add_argument("config")
    parser.add_argument("--pairs", type=int, default=30, help="measured pairs of floor and step")
    parser.add_argument("--warmup", type=int, default=5, help="pairs before them")
    parser.add_argument("--threads", type=int, default=1, help="torch threads")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--crop", type=int, help="train on square crops of this size instead")
    parser.add_argument("--data", choices=["synthetic", "config"], default="synthetic")
    parser.add_argument("--image-size", type=int, nargs=2, default=(375, 500), metavar=("H", "W"))
    parser.add_argument("--out", help="also write the results into this JSON file")
    parser.add_argument("--cfg-options", nargs="+", action=DictAction, default={})
    args = parser.parse_args(arguments)
    try:
        path = find_config(args.config)
        config = load_config(path)
        for key in args.cfg_options:
            check_option(key, config, path)
        config.merge_from_dict(args.cfg_options)
        if args.pairs < 1:
            raise UsageError(f"--pairs {args.pairs} must be at least 1")
        if torch.device(args.device).type == "cuda" and not torch.cuda.is_available():
            raise UsageError(f"--device {args.device}: torch finds no CUDA device")
        if args.crop:
            set_crop(config, args.crop)
        torch.set_num_threads(args.threads)
        init_default_scope(config.get("default_scope", "mmseg"))
        results = run_benchmark(
            config,
            pairs=args.pairs,
            warmup=args.warmup,
            device=args.device,
            data=args.data,
            image_hw=args.image_size,
        )
    except UsageError as error:
        print(f"benchmark.py: error: {error}", file=sys.stderr)
        return 2
    print(format_table(args.config, results))
    if args.out:
        Path(args.out).parent.mkdir(parents=True, exist_ok=True)
        Path(args.out).write_text(json.dumps(dict(config=args.config, **results), indent=2) + "\n")
    return 0
