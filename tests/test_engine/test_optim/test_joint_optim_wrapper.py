# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""One joint backward is the alternating update of the references; accumulation, DDP and AMP hold."""

from __future__ import annotations

import copy
import os
from contextlib import nullcontext
from functools import partial
from typing import Any

import pytest
import torch
from mmengine.dist import get_rank
from mmengine.model import MMDistributedDataParallel
from mmengine.optim import AmpOptimWrapper, OptimWrapper, build_optim_wrapper
from mmengine.optim.optimizer import amp_optimizer_wrapper
from torch import nn
from toy_gan import (
    CONFIG,
    ToyGAN,
    alternate,
    gradients,
    largest_difference,
    make_batches,
    plain_optimizers,
)

from mmsemi.engine import JointOptimWrapper
from mmsemi.engine.optim import has_stepped
from mmsemi.errors import CheckpointError, ConfigError

TOLERANCE = {torch.float32: 1e-6, torch.float64: 1e-13}


def train_jointly(
    model: nn.Module, batches: list[dict], max_counts: int | None = None, **changes: Any
) -> tuple[JointOptimWrapper, list[dict], list[bool]]:
    """The stock train step; also returns the gradients of each step and which iterations stepped."""
    wrapper = build_optim_wrapper(model, {**copy.deepcopy(CONFIG), **changes})
    seen: list[dict] = []
    inner = getattr(model, "module", model)
    wrapper["segmentor"].optimizer.register_step_pre_hook(lambda *_: seen.append(gradients(inner)))
    wrapper.initialize_count_status(model, 0, max_counts or len(batches))
    stepped = []
    for batch in batches:
        model.train_step(dict(batch), wrapper)
        stepped.append(wrapper.should_update())
    return wrapper, seen, stepped


# --- The mathematics ------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("window", [1, 2, 3])
def test_equals_alternating_updates(window, dtype) -> None:
    """5 iterations, so that windows of 2 and of 3 leave a remainder."""
    batches = make_batches(5, dtype=dtype)
    model, reference = ToyGAN().to(dtype), ToyGAN().to(dtype)
    expected = alternate(reference, plain_optimizers(reference), [batches], window)
    _, seen, stepped = train_jointly(model, batches, accumulative_counts=window)
    assert stepped == {1: [True] * 5, 2: [0, 1, 0, 1, 1], 3: [0, 0, 1, 0, 1]}[window]
    assert len(seen) == len(expected) == sum(stepped)
    for found, gradient in zip(seen, expected):
        assert largest_difference(found, gradient) < TOLERANCE[dtype]
    assert not any(name.startswith("teacher") for name in seen[0])
    difference = largest_difference(model.state_dict(), reference.state_dict())
    assert difference < TOLERANCE[dtype]
    moved = largest_difference(
        ToyGAN().to(dtype).discriminator.state_dict(), model.discriminator.state_dict()
    )
    assert moved > 1e-3, "the test must train"


def test_clips_member_by_member() -> None:
    batches = make_batches(4)
    model, reference = ToyGAN(), ToyGAN()
    limits = dict(student=0.2, discriminator=0.05)
    optimizers = plain_optimizers(reference)
    expected = alternate(reference, optimizers, [batches], 2, limits)
    discriminator = dict(CONFIG["discriminator"], clip_grad=dict(max_norm=0.05))
    wrapper, _, _ = train_jointly(
        model,
        batches,
        accumulative_counts=2,
        clip_grad=dict(type="norm", max_norm=0.2),
        discriminator=discriminator,
    )
    assert largest_difference(model.state_dict(), reference.state_dict()) < 1e-6
    assert len(expected) == 2
    hub = wrapper["segmentor"].message_hub
    norms = [hub.get_scalar(f"train/{n}.grad_norm").current() for n, _ in wrapper.items()]
    assert norms[0] > 0.2 and norms[1] > 0.05, "logged before clipping, under names of their own"


def train_rank(window: int, count: int, dtype: torch.dtype) -> dict[str, Any]:
    """Training on one rank of the pool, through mmengine's DDP."""
    model = MMDistributedDataParallel(
        ToyGAN().to(dtype), device_ids=[int(os.environ["LOCAL_RANK"])]
    )
    averaged = []

    def count_and_average(state, bucket):
        averaged.append(bucket.index())
        future = torch.distributed.all_reduce(bucket.buffer().div_(2), async_op=True).get_future()
        return future.then(lambda done: done.value()[0])

    model.register_comm_hook(None, count_and_average)
    batches = make_batches(count, get_rank(), dtype)
    _, seen, stepped = train_jointly(model, batches, accumulative_counts=window)
    weights = dict(model.module.state_dict())
    return dict(seen=seen, stepped=stepped, weights=weights, averaged=len(averaged))


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
def test_two_ranks_equal_alternating_updates(gloo_pool, dtype) -> None:
    """Accumulation 2 over 5 iterations: two whole windows and a remainder of one."""
    first, second = gloo_pool.run(train_rank, 2, 5, dtype)
    reference = ToyGAN().to(dtype)
    ranks = [make_batches(5, rank, dtype) for rank in range(2)]
    expected = alternate(reference, plain_optimizers(reference), ranks, 2)
    for rank in (first, second):
        assert rank["stepped"] == [False, True, False, True, True]
        assert rank["averaged"] == 3, "only the last iteration of a window may communicate"
        for found, gradient in zip(rank["seen"], expected, strict=True):
            assert largest_difference(found, gradient) < TOLERANCE[dtype]
        assert largest_difference(rank["weights"], reference.state_dict()) < TOLERANCE[dtype]
    assert all(torch.equal(first["weights"][n], second["weights"][n]) for n in first["weights"])


# --- Counting -------------------------------------------------------------------------------------


def test_members_know_the_shared_counts() -> None:
    wrapper, _, _ = train_jointly(ToyGAN(), make_batches(3), 5, accumulative_counts=2)
    assert wrapper.inner_count == 3
    assert not wrapper.should_update() and wrapper.should_sync()
    for member in wrapper.values():
        assert member.inner_count == 3
        assert not member.should_update() and member.should_sync()
    assert wrapper.scale_loss(torch.tensor(1.0)) == 0.5
    assert not has_stepped(wrapper)
    wrapper.backward(sum(p.sum() for m in wrapper.values() for p in m.param_groups[0]["params"]))
    assert has_stepped(wrapper)
    assert wrapper.scale_loss(torch.tensor(1.0)) == 1.0, "the remainder is a window of one"


def test_optimizer_without_gradient_stays(cpu_scaler) -> None:
    """As without AMP; torch's scaler alone would refuse it."""
    model = ToyGAN()
    wrapper = build_optim_wrapper(model, amp_config())
    before = copy.deepcopy(model.discriminator.state_dict())
    wrapper.update_params(sum(p.square().sum() for p in model.student.parameters()))
    assert largest_difference(before, model.discriminator.state_dict()) == 0


# --- Mixed precision ------------------------------------------------------------------------------


@pytest.fixture
def accelerator(monkeypatch) -> None:
    """mmengine allows AMP on accelerators only."""
    monkeypatch.setattr(amp_optimizer_wrapper, "is_cuda_available", lambda: True)


@pytest.fixture
def cpu_scaler(accelerator, monkeypatch) -> None:
    """A GradScaler that really scales on the CPU, where torch.cuda's switches itself off."""
    monkeypatch.setattr(
        amp_optimizer_wrapper, "GradScaler", lambda **kw: torch.amp.GradScaler("cpu", **kw)
    )


def amp_config(**changes: Any) -> dict:
    scale = dict(init_scale=2.0**10, growth_interval=100)
    return {**copy.deepcopy(CONFIG), "type": "AmpOptimWrapper", "loss_scale": scale, **changes}


@pytest.mark.filterwarnings("ignore:torch.cuda.amp.GradScaler is enabled")
def test_bfloat16_equals_alternating_updates(accelerator) -> None:
    batches = make_batches(3)
    model, reference = ToyGAN(), ToyGAN()
    precision = partial(torch.autocast, "cpu", torch.bfloat16)
    optimizers = plain_optimizers(reference)
    expected = alternate(reference, optimizers, [batches], 2, precision=precision)
    changes = dict(type="AmpOptimWrapper", loss_scale="dynamic", dtype="bfloat16")
    _, seen, _ = train_jointly(model, batches, accumulative_counts=2, **changes)
    for found, gradient in zip(seen, expected, strict=True):
        assert all(tensor.dtype == torch.float32 for tensor in found.values())
        assert largest_difference(found, gradient) < 1e-6
    assert largest_difference(model.state_dict(), reference.state_dict()) < 1e-6
    _, single, _ = train_jointly(ToyGAN(), batches, accumulative_counts=2)
    assert largest_difference(seen[0], single[0]) > 1e-4, "autocast did nothing"


def unscaled_steps(monkeypatch, batches: list[dict], **changes: Any):
    """Training under the scaler, but in float32: only the scaling remains."""
    monkeypatch.setattr("mmengine.runner.amp.autocast", lambda **_: nullcontext())
    model = ToyGAN()
    return model, *train_jointly(model, batches, **amp_config(**changes))


@pytest.mark.parametrize("clip_grad", [None, dict(max_norm=0.05)])
def test_one_scaler_serves_all(cpu_scaler, monkeypatch, clip_grad) -> None:
    batches = make_batches(6)
    discriminator = dict(CONFIG["discriminator"], clip_grad=clip_grad)
    changes = dict(accumulative_counts=2, clip_grad=clip_grad, discriminator=discriminator)
    expected = ToyGAN()
    train_jointly(expected, batches, **changes)
    model, wrapper, _, _ = unscaled_steps(monkeypatch, batches, **changes)
    assert largest_difference(model.state_dict(), expected.state_dict()) < 1e-6
    scaler = wrapper.loss_scaler.state_dict()
    assert (scaler["scale"], scaler["_growth_tracker"]) == (2.0**10, 3), "one update in each step"


@pytest.mark.parametrize("overflowing", [["discriminator"], ["student", "discriminator"]])
def test_overflow_skips_its_optimizer_and_halves_the_scale_once(
    cpu_scaler, monkeypatch, overflowing
) -> None:
    model, wrapper, _, _ = unscaled_steps(monkeypatch, make_batches(2))
    before = copy.deepcopy(model.state_dict())
    terms = {
        name: getattr(model, name)[0].bias.square().sum() * (1e38 if name in overflowing else 1)
        for name in ("student", "discriminator")
    }
    wrapper.update_params(sum(terms.values()))
    for name in terms:
        key = f"{name}.0.bias"
        stayed = torch.equal(model.state_dict()[key], before[key])
        assert stayed == (name in overflowing), name
    assert wrapper.loss_scaler.get_scale() == 2.0**9


def test_fixed_scale_stays(cpu_scaler, monkeypatch) -> None:
    _, wrapper, _, _ = unscaled_steps(monkeypatch, make_batches(3), loss_scale=512.0)
    assert wrapper.loss_scaler.get_scale() == 512


# --- State ----------------------------------------------------------------------------------------


def test_state_round_trip_with_one_scaler(cpu_scaler, monkeypatch, tmp_path) -> None:
    batches = make_batches(6)
    scale = dict(init_scale=2.0**10, growth_interval=2)
    straight, expected, _, _ = unscaled_steps(monkeypatch, batches, loss_scale=scale)
    model, wrapper, _, _ = unscaled_steps(monkeypatch, batches[:3], loss_scale=scale)
    state = wrapper.state_dict()
    assert list(state) == ["segmentor", "discriminator", "loss_scaler"]
    assert "loss_scaler" not in state["segmentor"] and state["loss_scaler"]["scale"] == 2.0**11
    torch.save(dict(optimizer=state, weights=model.state_dict()), tmp_path / "state.pth")

    loaded = torch.load(tmp_path / "state.pth", weights_only=True)
    resumed = ToyGAN()
    resumed.load_state_dict(loaded["weights"])
    wrapper = build_optim_wrapper(resumed, amp_config(loss_scale=scale))
    keys = set(loaded["optimizer"])
    wrapper.load_state_dict(loaded["optimizer"])
    assert set(loaded["optimizer"]) == keys, "the caller's dictionary stays whole"
    wrapper.initialize_count_status(resumed, 3, 6)
    for batch in batches[3:]:
        resumed.train_step(dict(batch), wrapper)
    assert largest_difference(resumed.state_dict(), straight.state_dict()) == 0
    assert wrapper.loss_scaler.state_dict() == expected.loss_scaler.state_dict()


def test_state_moves_between_precisions(cpu_scaler, monkeypatch) -> None:
    """Turning AMP on or off between two runs is allowed, as for a single optimiser."""
    plain, _, _ = train_jointly(ToyGAN(), make_batches(1))
    _, scaled, _, _ = unscaled_steps(monkeypatch, make_batches(1))
    scaled.load_state_dict(plain.state_dict())
    assert scaled.loss_scaler.get_scale() == 2.0**10
    plain.load_state_dict(scaled.state_dict())


def test_state_of_other_optimizers_is_refused() -> None:
    wrapper = build_optim_wrapper(ToyGAN(), copy.deepcopy(CONFIG))
    single = OptimWrapper(torch.optim.SGD(ToyGAN().student.parameters(), 0.1))
    with pytest.raises(CheckpointError, match="state, param_groups.*segmentor, discriminator"):
        wrapper.load_state_dict(single.state_dict())
    state = wrapper.state_dict()
    state["discriminator"] = state["segmentor"] | dict(param_groups=[])
    with pytest.raises(CheckpointError, match="'discriminator'"):
        wrapper.load_state_dict(state)


# --- Refused members ------------------------------------------------------------------------------


def member(parameter: nn.Parameter | None = None, accumulate: int = 1) -> OptimWrapper:
    parameter = nn.Parameter(torch.zeros(2, 3)) if parameter is None else parameter
    return OptimWrapper(torch.optim.SGD([parameter], 0.1), accumulative_counts=accumulate)


@pytest.mark.filterwarnings("ignore:torch.cuda.amp.GradScaler is enabled")
def test_unsuited_members_are_refused(accelerator) -> None:
    shared = nn.Parameter(torch.zeros(2, 3))
    with pytest.raises(ConfigError, match=r"'a' and 'b' .*\(2, 3\)"):
        JointOptimWrapper(a=member(shared), b=member(shared))
    with pytest.raises(ConfigError, match="a: 1, b: 2"):
        JointOptimWrapper(a=member(), b=member(accumulate=2))
    with pytest.raises(ConfigError, match="a: OptimWrapper, b: AmpOpt"):
        JointOptimWrapper(a=member(), b=AmpOptimWrapper(optimizer=member().optimizer))
    with pytest.raises(ConfigError, match="JointOptimWrapper"):
        JointOptimWrapper()
    with pytest.raises(ConfigError, match="a: JointOptimWrapper"):
        inner = JointOptimWrapper(a=member())
        JointOptimWrapper(a=inner)
