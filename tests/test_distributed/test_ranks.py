# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""What several processes compute together: losses, gradients, batch norm, stopping."""

from __future__ import annotations

import copy
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.dist import get_rank, get_world_size
from mmengine.model import BaseModel, MMDistributedDataParallel
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from mmseg.registry import DATASETS, MODELS
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader

from mmsemi.datasets import MultiSourceSampler
from mmsemi.errors import TrainingError
from mmsemi.models import Supervised
from mmsemi.structures import SemiBatch

STEPS = 3


# --- Two ranks compute what one process with doubled counts computes ------------------------------


@pytest.fixture
def dataset_config(semi_config, data_root) -> dict:
    """No ignored pixel, which would weigh ranks differently: full masks, crops without padding."""
    generator = np.random.default_rng(0)
    for path in sorted((data_root / "masks" / "train").iterdir()):
        mask = np.kron(generator.integers(0, 3, (6, 6)), np.ones((8, 8))).astype(np.uint8)
        noise = generator.integers(0, 90, (48, 48, 3)).astype(np.uint8)
        Image.fromarray(mask).save(path)
        Image.fromarray(60 * mask[..., None] + noise).save(data_root / "images/train" / path.name)
    for source in ("labeled", "unlabeled"):
        pipeline = semi_config[source]["pipeline"]
        pipeline[:] = [step for step in pipeline if step["type"] != "RandomResize"]
    return semi_config


@pytest.fixture
def model_config(segmentor_config, preprocessor_config) -> dict:
    """Group norm, whose statistics do not depend on the batch, and no dropout."""
    norm = dict(type="GN", num_groups=2, requires_grad=True)
    segmentor_config["backbone"]["norm_cfg"] = norm
    segmentor_config["decode_head"].update(norm_cfg=norm, dropout_ratio=0)
    return dict(segmentor=segmentor_config, data_preprocessor=preprocessor_config)


def train_steps(dataset_config: dict, model_config: dict, images_per_source: int) -> dict:
    """A few training steps with what a Runner would build, in one process or wrapped by DDP.

    Returns:
        ``draws``: indices and seeds of the samples by step; ``logs``: the values of the loss dict
        by step; ``gradients`` of the first step by parameter.
    """
    dataset = DATASETS.build(copy.deepcopy(dataset_config))
    counts = dict(labeled=images_per_source, unlabeled=images_per_source)
    if model_config["type"] == "Supervised":
        counts["unlabeled"] = 0
    sampler = MultiSourceSampler(dataset, counts, seed=0)
    loader = DataLoader(
        dataset, batch_size=sampler.batch_size, sampler=sampler, collate_fn=pseudo_collate
    )
    torch.manual_seed(0)
    model = MODELS.build(copy.deepcopy(model_config))
    model.init_weights()
    model.train()
    if get_world_size() > 1:
        model = MMDistributedDataParallel(model, device_ids=[int(os.environ["LOCAL_RANK"])])
    bare = getattr(model, "module", model)
    optimizer = torch.optim.SGD(bare.parameters(), lr=0.05)
    batches = iter(loader)
    logs, gradients = [], {}
    for _ in range(STEPS):
        batch = bare.data_preprocessor(next(batches), training=True)
        loss, values = bare.parse_losses(model(**batch, mode="loss"))
        optimizer.zero_grad()
        loss.backward()
        gradients = gradients or {name: p.grad.clone() for name, p in bare.named_parameters()}
        optimizer.step()
        logs.append({name: value.item() for name, value in values.items()})
    draws = [[tuple(draw) for draw in sampler.batch(step)] for step in range(STEPS)]
    return dict(draws=draws, logs=logs, gradients=gradients)


@pytest.mark.parametrize("method", ["Supervised", "CPS"])
def test_two_ranks_equal_one_process(gloo_pool, dataset_config, model_config, method):
    model_config["type"] = method
    single = train_steps(dataset_config, model_config, 4)
    ranks = gloo_pool.run(train_steps, dataset_config, model_config, 2)
    for step in range(STEPS):
        shares = [rank["draws"][step] for rank in ranks]
        assert sorted(shares[0] + shares[1]) == sorted(single["draws"][step])
        assert not set(shares[0]) & set(shares[1])
        for name, value in single["logs"][step].items():
            mean = sum(rank["logs"][step][name] for rank in ranks) / 2
            assert mean == pytest.approx(value, rel=1e-6, abs=1e-6), (step, name)
    assert "loss" in single["logs"][0] and single["gradients"]
    for name, gradient in single["gradients"].items():
        assert torch.equal(ranks[0]["gradients"][name], ranks[1]["gradients"][name])
        torch.testing.assert_close(ranks[0]["gradients"][name], gradient, rtol=1e-5, atol=1e-6)


# --- Gradient scale -------------------------------------------------------------------------------


class Line(BaseModel):
    """The loss w * x."""

    def __init__(self, divided_twice: bool) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor([2.0]))
        self.divided_twice = divided_twice

    def forward(self, inputs: Tensor, mode: str = "loss") -> dict:
        loss = (self.w * inputs).mean()
        if self.divided_twice:  # what the released CPS code does
            torch.distributed.all_reduce(loss.data)
            loss = loss / 2
        return dict(loss=loss)


def line_gradients() -> list[float]:
    """Gradient of w*x, w=2, x=rank+1, through the stock train step, and with the reference's."""
    gradients = []
    for divided_twice in (False, True):
        model = MMDistributedDataParallel(Line(divided_twice))
        optim_wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=1.0))
        model.train_step(dict(inputs=torch.tensor([get_rank() + 1.0])), optim_wrapper)
        gradients.append(2.0 - model.module.w.item())  # lr 1: the step is the gradient
    return gradients


def test_gradients_are_divided_once(gloo_pool):
    """The engine averages over ranks (1.5), the released code once more (0.75).

    docs/methods/cps.md#learning-rate-and-gradient-scale
    """
    assert gloo_pool.run(line_gradients) == [[1.5, 0.75]] * 2


# --- Batch norm -----------------------------------------------------------------------------------


def running_mean() -> tuple[bool, float]:
    """A SyncBN layer through mmengine's DDP on the CPU, each rank with a mean of its own."""
    norm = nn.SyncBatchNorm(1, momentum=0.5)
    model = MMDistributedDataParallel(
        nn.Sequential(norm), device_ids=[int(os.environ["LOCAL_RANK"])], broadcast_buffers=False
    )
    for _ in range(2):
        model(torch.full((2, 1, 4, 4), float(get_rank())))
    keeps_parameters = model.module[0].weight is norm.weight
    return keeps_parameters, model.module[0].running_mean.item()


def test_batch_statistics_are_per_process(gloo_pool):
    """Each step starts from rank 0's mean 0; a mean of its own would be at 0.75 on rank 1."""
    assert gloo_pool.run(running_mean) == [(True, 0.0), (True, 0.5)]


# --- Stopping -------------------------------------------------------------------------------------


@MODELS.register_module()
class NaNOnRankOne(Supervised):
    """The third loss of rank 1 is not a number."""

    calls = 0

    def loss(self, batch: SemiBatch) -> dict[str, Tensor]:
        self.calls += 1
        losses = super().loss(batch)
        if get_rank() == 1 and self.calls == 3:
            losses["sup.decode.loss_ce"] = losses["sup.decode.loss_ce"] * float("nan")
        return losses


def train_until_error(config: dict, work_dir: str) -> str:
    """The message with which training ends on this rank."""
    runner = Runner.from_cfg(Config({**config, "work_dir": work_dir, "launcher": "pytorch"}))
    with pytest.raises(TrainingError) as error:
        runner.train()
    return str(error.value)


def test_invalid_loss_of_one_rank_stops_both(gloo_pool, training_config, tmp_path):
    training_config.model.type = "NaNOnRankOne"
    training_config.train_dataloader.batch_size = 2
    training_config.train_dataloader.sampler.num_per_source.unlabeled = 0
    del training_config.model["mix"]
    training_config.default_hooks.checkpoint.interval = 1
    training_config.val_cfg = training_config.val_dataloader = training_config.val_evaluator = None
    training_config.default_hooks.checkpoint.save_best = None
    first, second = gloo_pool.run(
        train_until_error, training_config.to_dict(), str(tmp_path / "run")
    )
    assert first == second
    assert "iteration 3" in first and "sup.decode.loss_ce=nan" in first
    assert "process 1" in first and "process 0" not in first
    written = sorted(path.name for path in Path(tmp_path / "run").glob("*.pth"))
    assert written == ["iter_1.pth", "iter_2.pth"]
