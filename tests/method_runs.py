# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Trainings of tiny methods: a runner, its optimisers, one rank, the losses of a golden curve."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import OptimWrapper, build_optim_wrapper
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmseg.registry import DATASETS, MODELS
from step_runner import StepRunner, draw_batches
from torch import Tensor, nn
from watchers import Recorder

#: Iterations of a golden curve.
GOLDEN_ITERATIONS = 8


def build_runner(config: dict) -> Runner:
    """A runner with a recorder, without what takes most of the time of a tiny run."""
    init_default_scope("mmseg")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Runner, "_log_env", lambda *_: None)
        runner = Runner.from_cfg(Config(copy.deepcopy(config)))
    runner.recorder = Recorder()
    runner.register_hook(runner.recorder)
    return runner


def build_optimizers(
    model: nn.Module, extra: dict, kind: type[OptimWrapper] = OptimWrapper, **options: Any
) -> Any:
    """SGD, and the optimisers of a method's other parts, as the Runner builds them."""
    config = dict(type=kind, **copy.deepcopy(extra), **options)
    config.setdefault("optimizer", dict(type="SGD", lr=0.02))
    return build_optim_wrapper(model, config)


def train_rank(config: dict) -> dict[str, Tensor]:
    """Parameters after a training on this rank of the gloo pool."""
    runner = build_runner(config)
    runner.train()
    return {key: value.detach().clone() for key, value in runner.model.module.named_parameters()}


def golden_curve(
    model_config: dict, dataset_config: dict, counts: dict, optim_wrapper: dict
) -> list[dict[str, float]]:
    """Losses of the first iterations of a method on images from disk: momentum SGD, one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        torch.manual_seed(0)
        model = MODELS.build(copy.deepcopy(model_config))
        for net in model.networks():
            net.init_weights()
        sgd = dict(type="SGD", lr=0.02, momentum=0.9)
        runner = StepRunner(model, build_optimizers(model, optim_wrapper, optimizer=sgd))
        batches = draw_batches(DATASETS.build(dataset_config), counts, GOLDEN_ITERATIONS)
        logs = [runner.step(batch) for batch in batches]
        return [{key: v.item() for key, v in log.items() if "loss" in key} for log in logs]
    finally:
        torch.set_num_threads(threads)
