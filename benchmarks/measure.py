# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Measuring one config: step, reference step, draws, loader, teacher update, memory."""

from __future__ import annotations

import copy
import platform
import statistics
import tempfile
import time
from collections.abc import Sequence
from typing import Any

import torch
from mmengine.config import Config
from mmengine.logging import MessageHub
from mmengine.model import revert_sync_batchnorm
from mmengine.optim import build_optim_wrapper
from mmseg.registry import MODELS
from torch import nn

from .batches import LoadSample, file_loader, fresh, load_batch, make_batch
from .draws import Draws
from .reference_steps import members, plain_optimizers, reference_step, why_no_reference
from .timing import Run, alternate, device_name, peak_memory_mib, quartiles, ratios, timed


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
    model = revert_sync_batchnorm(model).to(device).train()
    max_iters = config.get("train_cfg", {}).get("max_iters", 1)
    MessageHub.get_current_instance().update_info("max_iters", max_iters)
    if model.has_teacher:  # what its hook does; the average is timed on its own
        model.teacher.start(model.student)
    if hasattr(model, "previous"):  # the same, of a run that has filled its list
        model.previous.length = max_iters
        for iteration in range(model.previous.capacity):
            model.previous.add(model.network(), iteration)
    return model


def build_training(config: Config, device: torch.device) -> tuple[nn.Module, Any]:
    """The config's model and its optimiser's wrapper, from seed 0, with cuDNN as the config has it."""
    torch.manual_seed(0)
    if device.type == "cuda":
        torch.backends.cudnn.benchmark = bool(config.get("env_cfg", {}).get("cudnn_benchmark"))
    model = build_model(config, device)
    return model, build_optim_wrapper(model, copy.deepcopy(config.optim_wrapper))


class StepState:
    """What a step changes although its learning rate is 0: batch statistics and rings of features.

    A step and its reference must start from the same, or they would label the images, and draw from the
    rings, differently.

    Args:
        model: The method.
    """

    def __init__(self, model: nn.Module) -> None:
        self._buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
        self._rings: list[tuple[Any, dict[str, Any]]] = []

    def keep_rings(self, rings: Sequence[Any]) -> None:
        """From now on restore these, too: how many rows they hold. A row is written to its place again."""
        self._rings = [(ring, dict(vars(ring))) for ring in rings]

    def restore(self) -> None:
        """Put everything back."""
        for buffer, value in self._buffers:
            buffer.copy_(value)
        for ring, values in self._rings:
            vars(ring).update(values)


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
    """Measure step, reference step, draws, loader, teacher update and memory of a training config.

    Args:
        config: A whole training config.
        pairs: Measured pairs of step and reference.
        warmup: Pairs before them.
        device: Where to train.
        data: 'synthetic' or 'config', where the batch comes from.
        image_hw: Size of the image file whose loading is timed with synthetic data.
        loader_seconds: Time spent on timing the loader; 0 leaves it out.

    Returns:
        JSON-ready results; times are in seconds. ``reference`` and the ratios are None, and ``note``
        says why, where no reference step is known.
    """
    device = torch.device(device)
    model, wrapper = build_training(config, device)
    for one in members(wrapper):
        for group in one.param_groups:
            group["lr"] = 0.0
    if data == "config":
        batch, load = load_batch(config)
    else:
        batch, load = make_batch(config, model.num_classes), None

    ready = model.data_preprocessor(fresh(batch), training=True)["inputs"]
    draws, value, current, state = Draws(), {}, [], StepState(model)
    note = why_no_reference(model, wrapper)
    optimizers = plain_optimizers(wrapper)

    def prepare() -> None:
        torch.manual_seed(0)  # of dropout in the networks
        state.restore()
        current[:] = [fresh(batch)]  # a step writes into its samples

    def step() -> None:
        value["step"] = float(model.train_step(*current, wrapper)["loss"].detach())

    def reference() -> None:
        loss = sum(reference_step(model, ready, draws).values())
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
        value["reference"] = float(loss.detach())

    def preprocess() -> None:
        model.data_preprocessor(*current, training=True)

    runs: dict[str, Run] = dict(step=step, preprocessor=preprocess, draws=draws.again)
    if note is None:
        runs["reference"] = reference
    prepare()
    with draws.recorded_from(model):
        model(ready, mode="loss")
    if hasattr(model, "class_contrast") and note is None:
        prepare()
        reference()  # which fills its rings, too
        state.keep_rings([model.memory_bank, *draws.rings])
    with draws.played_to(model):
        timings = alternate(runs, device, pairs, warmup, prepare)
        prepare()
        memory = dict(step=peak_memory_mib(step, device))
    if note is None and device.type == "cuda":
        prepare()
        memory["reference"] = peak_memory_mib(reference, device)

    times = {name: quartiles([one.seconds for one in own]) for name, own in timings.items()}
    counts = dict(config.train_dataloader.sampler.num_per_source)
    results: dict[str, Any] = dict(
        method=type(model).__name__,
        mix=getattr(model, "mix", None) is not None,
        counts=counts,
        crop_hw=list(ready.labeled.size_hw),
        data=data,
        device=device_name(device),
        threads=torch.get_num_threads(),
        torch=torch.__version__,
        python=platform.python_version(),
        pairs=pairs,
        step=times["step"],
        reference=times.get("reference"),
        ratio=None,
        cpu_ratio=None,
        note=note,
        loss_difference=None,
        preprocessor=times["preprocessor"]["median"],
        draws=times["draws"]["median"],
        ema=None,
        images_per_second=sum(counts.values()) / times["step"]["median"],
        memory_mib=memory,
    )
    if note is None:
        results.update(ratios(timings["step"], timings["reference"], device))
        difference = abs(value["step"] - value["reference"]) / abs(value["reference"])
        results["loss_difference"] = difference
        if not difference < 1e-3:
            results["note"] = "the reference computes another loss than the step: no ratio"
            results["ratio"] = results["cpu_ratio"] = None
    if model.has_teacher:
        updates = [timed(model.teacher.update, device).seconds for _ in range(20)]
        results["ema"] = statistics.median(updates)
    if loader_seconds > 0:
        with tempfile.TemporaryDirectory() as folder:
            load = load or file_loader(config, folder, image_hw)
            results["loader"] = measure_loader(load, counts, loader_seconds)
            results["image_hw"] = None if data == "config" else list(image_hw)
    return results
