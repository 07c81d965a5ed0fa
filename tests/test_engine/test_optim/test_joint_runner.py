# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Several optimisers under a whole Runner: schedules, log, hooks, resuming."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from mmengine.hooks import Hook, LoggerHook
from mmengine.optim.optimizer import amp_optimizer_wrapper
from mmengine.runner import Runner
from torch import nn
from torch.func import functional_call

ITERATIONS = 12


class Rates(Hook):
    """The learning rates of each iteration, and which iterations stepped."""

    def __init__(self) -> None:
        self.seen: list[dict[str, float]] = []
        self.stepped: list[bool] = []

    def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
        self.seen.append({key: lr[0] for key, lr in runner.optim_wrapper.get_lr().items()})

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        self.stepped.append(runner.optim_wrapper.should_update())


@pytest.fixture
def make_runner(toy, tmp_path):
    """A Runner on the toy regression with teacher, plus a critic of its predictions."""

    class Adversarial(toy.Model):
        def __init__(self) -> None:
            super().__init__()
            with torch.random.fork_rng():
                torch.manual_seed(2)
                self.critic = nn.Sequential(nn.Linear(1, 4), nn.Tanh(), nn.Linear(4, 1))

        def forward(self, inputs, data_samples=None, mode: str = "tensor"):
            if mode != "loss":
                return super().forward(inputs, data_samples, mode)
            x = torch.stack(list(inputs))
            prediction = self.student(x)
            with torch.no_grad():
                target = self.teacher(x)
            detached = {name: p.detach() for name, p in self.critic.named_parameters()}
            fooled = functional_call(self.critic, detached, (prediction,))
            real = x.sum(1, keepdim=True)
            softplus = nn.functional.softplus
            return dict(
                loss_sup=(prediction - real).square().mean(),
                loss_unsup=(prediction - target).square().mean(),
                loss_adv=softplus(-fooled).mean(),
                loss_d=(
                    softplus(self.critic(prediction.detach())) + softplus(-self.critic(real))
                ).mean(),
            )

    def make(schedule: Any = None, wrapper: dict | None = None, **settings: Any) -> Runner:
        runner = toy.runner(
            tmp_path,
            **{"max_iters": ITERATIONS, "save_interval": 6, "model": Adversarial()} | settings,
        )
        # Configs until train() builds them.
        runner.optim_wrapper = dict(
            type="OptimWrapper",
            constructor="JointOptimWrapperConstructor",
            optimizer=dict(type="SGD", lr=0.05, momentum=0.9),
            critic=dict(optimizer=dict(type="Adam", lr=0.01, betas=(0.9, 0.99))),
        ) | (wrapper or {})
        if schedule is not None:
            runner.param_schedulers = schedule
        return runner

    return make


@pytest.fixture
def amp_config(monkeypatch) -> dict:
    """bfloat16 with a GradScaler that really scales on the CPU, where torch.cuda's does nothing."""
    monkeypatch.setattr(amp_optimizer_wrapper, "is_cuda_available", lambda: True)
    monkeypatch.setattr(
        amp_optimizer_wrapper, "GradScaler", lambda **kw: torch.amp.GradScaler("cpu", **kw)
    )
    scale = dict(init_scale=2.0**8, growth_interval=2)
    return dict(type="AmpOptimWrapper", dtype="bfloat16", loss_scale=scale)


def poly(lr: float, iteration: int, power: float = 0.9, end: int = ITERATIONS + 1) -> float:
    return lr * (1 - iteration / (end - 1)) ** power


@pytest.mark.filterwarnings("error:Detected call of `scheduler.step")
@pytest.mark.parametrize("amp", [False, True])
def test_one_list_of_schedules_serves_all(make_runner, amp_config, amp) -> None:
    """mmengine warns where a schedule moves before its optimiser did."""
    rates = Rates()
    schedule = [dict(type="PolyLR", power=0.9, end=ITERATIONS + 1, by_epoch=False)]
    make_runner(schedule, hooks=(rates,), wrapper=amp_config if amp else {}).train()
    for iteration, seen in enumerate(rates.seen):
        assert seen["segmentor.lr"] == pytest.approx(poly(0.05, iteration)), iteration
        assert seen["critic.lr"] == pytest.approx(poly(0.01, iteration)), iteration


def test_schedules_by_name_and_their_log(make_runner) -> None:
    rates = Rates()
    schedule = dict(
        segmentor=[dict(type="PolyLR", power=0.9, end=ITERATIONS + 1, by_epoch=False)],
        critic=[dict(type="ConstantLR", factor=0.5, end=4, by_epoch=False)],
    )
    runner = make_runner(
        schedule,
        hooks=(rates,),
        wrapper=dict(clip_grad=dict(max_norm=9.0)),
        log_processor=dict(by_epoch=False),
    )
    next(hook for hook in runner.hooks if isinstance(hook, LoggerHook)).interval = 1
    runner.train()
    found = [seen["segmentor.lr"] for seen in rates.seen]
    assert found == pytest.approx([poly(0.05, i) for i in range(ITERATIONS)])
    found = [seen["critic.lr"] for seen in rates.seen]
    assert found == pytest.approx([0.005] * 3 + [0.01] * (ITERATIONS - 3))
    lines = [line for line in runner.log.lines if line.startswith("Iter(train)")]
    assert len(lines) == ITERATIONS
    assert "segmentor.lr: 5.0000e-02 critic.lr: 5.0000e-03" in lines[0]
    assert "segmentor.grad_norm: " in lines[0] and "loss_d: " in lines[0]
    described = "one backward, 2 optimisers: segmentor SGD (81 parameters), critic Adam (13"
    assert any(described in line for line in runner.log.lines)


def test_teacher_counts_joint_steps(make_runner) -> None:
    """11 iterations in windows of 2: 5 steps and the remainder."""
    rates = Rates()
    runner = make_runner(
        max_iters=11, hooks=(rates,), wrapper=dict(accumulative_counts=2), save_interval=100
    )
    runner.train()
    assert rates.stepped == [False, True] * 5 + [True]
    assert runner.model.teacher.steps == 6


def test_automatic_learning_rate_scaling_reaches_all(make_runner) -> None:
    rates = Rates()
    settings = dict(auto_scale_lr=dict(enable=True, base_batch_size=8), max_iters=1)
    make_runner(hooks=(rates,), **settings).train()
    assert rates.seen[0] == pytest.approx({"segmentor.lr": 0.025, "critic.lr": 0.005})


def assert_same(found: Any, expected: Any, where: str = "") -> None:
    """Nested states agree bit for bit."""
    if isinstance(expected, torch.Tensor):
        assert torch.equal(found, expected), where
    elif isinstance(expected, dict):
        assert found.keys() == expected.keys(), where
        for key in expected:
            assert_same(found[key], expected[key], f"{where}.{key}")
    elif isinstance(expected, (list, tuple)):
        assert len(found) == len(expected), where
        for number, (ours, theirs) in enumerate(zip(found, expected)):
            assert_same(ours, theirs, f"{where}[{number}]")
    else:
        assert found == expected, where


@pytest.mark.parametrize("amp", [False, True])
def test_resumes_bit_for_bit(make_runner, tmp_path, amp_config, amp) -> None:
    wrapper: dict = dict(
        accumulative_counts=2, paramwise_cfg=dict(custom_keys={"student.4": dict(lr_mult=2.0)})
    )
    wrapper |= amp_config if amp else {}
    schedule = dict(
        segmentor=[dict(type="PolyLR", power=0.9, end=ITERATIONS + 1, by_epoch=False)],
        critic=[dict(type="LinearLR", start_factor=0.1, end=9, by_epoch=False)],
    )
    straight = make_runner(schedule, wrapper)
    straight.train()
    resumed = make_runner(schedule, wrapper, resume=True, load_from=str(tmp_path / "iter_6.pth"))
    resumed.train()
    assert "resumed epoch: 0, iter: 6" in " ".join(resumed.log.lines)
    for iteration in range(6, ITERATIONS):
        losses = straight.recorder.losses[iteration], resumed.recorder.losses[iteration]
        assert losses[0] == losses[1], iteration
    assert_same(resumed.model.state_dict(), straight.model.state_dict())
    state = straight.optim_wrapper.state_dict()
    assert_same(resumed.optim_wrapper.state_dict(), state)
    if amp:  # 6 steps grow the scale three times
        assert state["loss_scaler"]["scale"] == 2.0**11
    for name, schedulers in straight.param_schedulers.items():
        for ours, theirs in zip(resumed.param_schedulers[name], schedulers, strict=True):
            assert ours.state_dict() == theirs.state_dict()
    assert resumed.optim_wrapper.inner_count == straight.optim_wrapper.inner_count == ITERATIONS
