# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""A checkpoint that fits the config goes on; a longer or changed schedule is followed; the rest is refused."""

from __future__ import annotations

import pytest
import torch
from mmengine.hooks import Hook
from torch import nn

from mmsemi.engine.hooks.resume_hook import newest_checkpoint
from mmsemi.errors import CheckpointError, ConfigError


class Rates(Hook):
    """Learning rates and weight decays of the iterations, by optimiser."""

    def __init__(self) -> None:
        self.seen: dict[int, list] = {}

    def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
        groups = runner.optim_wrapper.param_groups
        groups = (
            [g for part in groups.values() for g in part] if isinstance(groups, dict) else groups
        )
        self.seen[runner.iter] = [(group["lr"], group["weight_decay"]) for group in groups]


@pytest.fixture
def train(toy, tmp_path):
    """Trains; returns the runner with the rates that it had."""

    def run(folder="run", schedule=None, optimizer=None, joint=None, **settings):
        rates = Rates()
        model = toy.Model()
        if joint:
            model.critic = nn.Linear(1, 1)
            forward = model.forward

            def with_critic(inputs, data_samples=None, mode="tensor"):
                losses = forward(inputs, data_samples, mode)
                losses["loss_d"] = model.critic(torch.ones(1, 1)).square().mean()
                return losses

            model.forward = with_critic
        settings.setdefault("save_interval", 4)
        runner = toy.runner(tmp_path / folder, model=model, hooks=(rates,), **settings)
        runner.optim_wrapper = dict(
            type="OptimWrapper",
            optimizer=optimizer or dict(type="SGD", lr=0.05, momentum=0.9, weight_decay=0.01),
            **(joint or {}),
        )
        runner.param_schedulers = schedule
        runner.train()
        runner.rates = rates.seen
        return runner

    return run


POLY = [dict(type="PolyLR", power=0.9)]
WARM = [
    dict(type="LinearLR", start_factor=0.1, begin=0, end=3),
    dict(type="CosineAnnealingLR", begin=3),
]
TWO = dict(
    constructor="JointOptimWrapperConstructor", critic=dict(optimizer=dict(type="Adam", lr=0.01))
)


@pytest.mark.parametrize(
    ("schedule", "joint"),
    [
        (POLY, None),
        (WARM, None),
        (dict(segmentor=POLY, critic=WARM), TWO),
        (POLY, TWO),
        ([dict(type="MultiStepLR", milestones=[3, 6])], None),
        ([dict(type="OneCycleLR", eta_max=0.1, total_steps=4)], None),
    ],
    ids=["poly", "warmup_cosine", "by_optimiser", "two_optimisers", "steps", "one_cycle"],
)
def test_a_longer_run_follows_the_schedule_that_it_would_have_had(train, schedule, joint) -> None:
    def lasting(iterations: int):
        if isinstance(schedule, list) and schedule[0]["type"] == "OneCycleLR":
            return [dict(schedule[0], total_steps=iterations)]
        return schedule

    whole = train("whole", lasting(8), max_iters=8, joint=joint)
    train(schedule=lasting(4), max_iters=4, joint=joint)
    longer = train(schedule=lasting(8), max_iters=8, joint=joint, resume=True)
    assert sorted(longer.rates) == [4, 5, 6, 7]
    for iteration, rates in longer.rates.items():
        for found, wanted in zip(rates, whole.rates[iteration], strict=True):
            assert found == pytest.approx(wanted), iteration
    assert any("param_scheduler" in line and "iteration 4" in line for line in longer.log.lines)


@pytest.mark.parametrize("joint", [None, TWO])
def test_an_unchanged_config_changes_nothing(train, joint) -> None:
    """Not even the last bit, which the replay of a schedule may."""
    schedule = [dict(type="PolyLR", power=0.9, end=9)]
    whole = train("whole", schedule, max_iters=8, joint=joint)
    train(schedule=schedule, max_iters=4, joint=joint)
    resumed = train(schedule=schedule, max_iters=8, joint=joint, resume=True)
    assert resumed.rates == {i: whole.rates[i] for i in range(4, 8)}
    for left, right in zip(whole.model.parameters(), resumed.model.parameters()):
        assert torch.equal(left, right)
    assert not any("of the config" in line for line in resumed.log.lines)


@pytest.mark.parametrize("schedule", [POLY, None], ids=["scheduled", "constant"])
def test_changed_hyperparameters_take_effect_and_are_said(train, schedule) -> None:
    changed = dict(type="SGD", lr=0.02, momentum=0.9, weight_decay=0.5)
    whole = train("whole", schedule, changed, max_iters=8)
    train(schedule=schedule, max_iters=8, save_interval=4)
    resumed = train(
        schedule=schedule,
        optimizer=changed,
        max_iters=8,
        resume=True,
        load_from=str(whole.work_dir).replace("whole", "run") + "/iter_4.pth",
    )
    for iteration in range(4, 8):
        for found, wanted in zip(resumed.rates[iteration], whole.rates[iteration], strict=True):
            assert found == pytest.approx(wanted), iteration
    said = [line for line in resumed.log.lines if "of the config" in line]
    assert any("weight_decay=0.5" in line for line in said)
    assert any("0.02" in line for line in said)


def test_a_changed_schedule_that_followed_metrics_is_refused(train) -> None:
    halve = dict(type="ReduceOnPlateauLR", monitor="mIoU", rule="greater", patience=1)
    train(schedule=[halve], max_iters=4, val_interval=2)
    train(schedule=[halve], max_iters=6, val_interval=2, resume=True)
    with pytest.raises(ConfigError, match="param_scheduler"):
        train(schedule=[dict(halve, patience=3)], max_iters=8, val_interval=2, resume=True)


def test_another_number_of_schedulers_is_a_change(train) -> None:
    train(schedule=POLY, max_iters=4)
    whole = train("whole", WARM, max_iters=4)
    resumed = train(schedule=WARM, max_iters=5, resume=True)
    assert any("1 -> 2 schedulers" in line for line in resumed.log.lines)
    assert len(resumed.rates) == 1 and len(whole.rates) == 4


# --- Checkpoints that cannot be continued ---------------------------------------------------------


def _without(*parts: str):
    def change(checkpoint: dict) -> None:
        for part in parts:
            del checkpoint[part]

    return change


def _without_weights(prefix: str):
    def change(checkpoint: dict) -> None:
        state = checkpoint["state_dict"]
        for key in [key for key in state if key.startswith(prefix)]:
            del state[key]

    return change


def _other_width(checkpoint: dict) -> None:
    checkpoint["state_dict"]["student.0.weight"] = torch.zeros(9, 6)


def _more_weights(checkpoint: dict) -> None:
    checkpoint["state_dict"]["critic.weight"] = torch.zeros(1)


def _later(checkpoint: dict) -> None:
    checkpoint["meta"]["iter"] = 50


def _other_optimizer(checkpoint: dict) -> None:
    for group in checkpoint["optimizer"]["param_groups"]:
        del group["momentum"]
        group["betas"] = (0.9, 0.999)


def _fewer_parameters(checkpoint: dict) -> None:
    checkpoint["optimizer"]["param_groups"][0]["params"].pop()


def _of_another_form(part: str, content: object):
    def change(checkpoint: dict) -> None:
        checkpoint[part] = content

    return change


def _states(**changes: object):
    """Random states of the only rank, with other parts."""

    def change(checkpoint: dict) -> None:
        checkpoint["random_states"]["ranks"][0].update(changes)

    return change


@pytest.mark.parametrize(
    ("change", "value"),
    [
        (_without("optimizer", "param_schedulers"), "optimiser"),  # a best_*.pth
        (_without("meta"), "position"),  # weights only
        (_without("message_hub"), "message hub"),
        (_without_weights("student.0."), "student.0."),
        (_without_weights("teacher.module.0."), "teacher.module.0."),
        (_without_weights(""), "student"),
        (_without_weights("teacher."), "teacher"),  # of a supervised run, for instance
        (_without("state_dict"), "weights"),
        (_of_another_form("state_dict", [1]), "weights"),
        (_of_another_form("optimizer", None), "optimiser"),
        (_of_another_form("message_hub", dict(version=9)), "message hub"),
        (_of_another_form("random_states", dict(version=9)), "random states"),
        (
            _of_another_form("random_states", dict(ranks=[dict(torch=1)], sampler={})),
            "random states",
        ),
        (_of_another_form("random_states", dict(ranks=[], sampler=None)), "random states"),
        (_states(torch=torch.zeros(3, dtype=torch.uint8)), "random states"),
        (_states(python=(99, torch.zeros(625, dtype=torch.int64), None)), "random states"),
        (_other_width, "student.0.weight"),
        (_more_weights, "critic.weight"),
        (_later, "50"),
        (_other_optimizer, "betas"),
        (_fewer_parameters, "parameters"),
    ],
)
def test_a_checkpoint_that_cannot_be_continued_is_refused(toy, tmp_path, change, value) -> None:
    toy.runner(tmp_path, max_iters=4, save_interval=4).train()
    checkpoint = torch.load(tmp_path / "iter_4.pth", weights_only=True)
    change(checkpoint)
    path = str(tmp_path / "changed.pth")
    torch.save(checkpoint, path)
    runner = toy.runner(tmp_path / "b", max_iters=8, resume=True, load_from=path)
    with pytest.raises((CheckpointError, ConfigError), match=value) as refused:
        runner.train()
    assert path in str(refused.value) and "\n" not in str(refused.value)
    assert not runner.recorder.losses


def test_without_states_of_schedulers_the_schedule_is_at_its_place(train, tmp_path) -> None:
    whole = train(schedule=POLY, max_iters=8)
    checkpoint = torch.load(tmp_path / "run" / "iter_4.pth", weights_only=True)
    del checkpoint["param_schedulers"]
    torch.save(checkpoint, tmp_path / "plain.pth")
    resumed = train("b", POLY, max_iters=8, resume=True, load_from=str(tmp_path / "plain.pth"))
    for iteration in range(4, 8):
        for found, wanted in zip(resumed.rates[iteration], whole.rates[iteration]):
            assert found == pytest.approx(wanted)


# --- Which checkpoint, and which loop -------------------------------------------------------------


@pytest.mark.parametrize("newest", ["iter_12.pth", "interrupted_iter_13.pth"])
def test_without_a_pointer_the_newest_checkpoint_is_taken(toy, tmp_path, newest) -> None:
    toy.runner(tmp_path, max_iters=12, save_interval=4).train()
    (tmp_path / "last_checkpoint").unlink()
    if not newest.startswith("iter"):
        checkpoint = torch.load(tmp_path / "iter_12.pth", weights_only=True)
        checkpoint["meta"]["iter"] = 13
        torch.save(checkpoint, tmp_path / newest)
    (tmp_path / "best_mIoU_iter_99.pth").write_bytes(b"no checkpoint of the run's course")
    runner = toy.runner(tmp_path, max_iters=14, resume=True)
    runner.train()
    assert min(runner.recorder.losses) == (12 if newest.startswith("iter") else 13)
    assert any(newest in line and "last_checkpoint" in line for line in runner.log.lines)


def test_a_run_that_began_with_load_from_goes_on_from_its_own_checkpoint(toy, tmp_path) -> None:
    toy.runner(tmp_path / "first", max_iters=4, save_interval=4).train()
    given = str(tmp_path / "first" / "iter_4.pth")
    for weights_only in (False, True):
        folder = tmp_path / f"tuned_{weights_only}"
        settings = dict(load_from=given, save_interval=2)
        first = toy.runner(folder, max_iters=2, resume=not weights_only, **settings)
        if not weights_only:  # resumed in another folder
            first = toy.runner(folder, max_iters=6, resume=True, **settings)
        first.train()
        assert min(first.recorder.losses) == (0 if weights_only else 4)
        again = toy.runner(folder, max_iters=8, resume=True, **settings)
        again.train()
        assert min(again.recorder.losses) == (2 if weights_only else 6)
        assert any("load_from" in line and str(folder) in line for line in again.log.lines)
    # Named in the run's own folder, an earlier one is meant.
    earlier = toy.runner(folder, max_iters=8, resume=True, load_from=str(folder / "iter_4.pth"))
    earlier.train()
    assert min(earlier.recorder.losses) == 4


def test_a_folder_without_checkpoints_starts_a_run(toy, tmp_path) -> None:
    assert newest_checkpoint(str(tmp_path)) is None
    runner = toy.runner(tmp_path, max_iters=2, resume=True)
    runner.train()
    assert sorted(runner.recorder.losses) == [0, 1]


@pytest.mark.parametrize(
    ("settings", "value"),
    [
        (dict(), "MultiSourceSampler"),
        (dict(sampler=dict(type="InfiniteSampler")), "InfiniteSampler"),
    ],
)
def test_epochs_that_never_end_are_refused(toy, tmp_path, settings, value) -> None:
    runner = toy.runner(tmp_path, checkpoint=dict(by_epoch=True), **settings)
    runner._train_loop = dict(type="EpochBasedTrainLoop", max_epochs=3, val_interval=1)
    with pytest.raises(ConfigError, match=f"{value}.*SemiIterBasedTrainLoop', epochs=3"):
        runner.train()


def test_epochs_that_end_are_trained(toy, tmp_path) -> None:
    counts = dict(labeled=2, unlabeled=2)
    sampler = dict(type="MultiSourceSampler", num_per_source=counts, epoch_length=3)
    runner = toy.runner(tmp_path, sampler=sampler, checkpoint=dict(by_epoch=True, interval=1))
    runner._train_loop = dict(type="EpochBasedTrainLoop", max_epochs=2, val_interval=1)
    runner.train()
    assert sorted(runner.recorder.losses) == list(range(6))


def test_checkpoints_by_epoch_need_epochs(toy, tmp_path) -> None:
    runner = toy.runner(tmp_path, checkpoint=dict(by_epoch=True))
    with pytest.raises(ConfigError, match="by_epoch=True"):
        runner.train()


def test_other_counts_are_said(toy, tmp_path) -> None:
    toy.runner(tmp_path, max_iters=4, save_interval=4).train()
    counts = dict(labeled=1, unlabeled=3)
    runner = toy.runner(
        tmp_path,
        max_iters=6,
        resume=True,
        sampler=dict(type="MultiSourceSampler", num_per_source=counts),
    )
    runner.train()
    assert any("num_per_source" in line and "'unlabeled': 3" in line for line in runner.log.lines)
