# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""The length of a run is one value, and what a config leaves out follows from it."""

from __future__ import annotations

import functools
from types import SimpleNamespace

import pytest
import torch
from mmengine.hooks import Hook
from mmseg.registry import PARAM_SCHEDULERS

from mmsemi.engine.loops.run_length import complete_schedulers, count_iterations, ends_elsewhere
from mmsemi.errors import ConfigError

POLY = dict(type="PolyLR", power=0.9)


def count(max_iters=None, epochs=None, epoch_of=None, world_size=1, copies=1, **counts) -> int:
    """On a data set of 45 labelled, 322 unlabelled and 45 ground-truth images."""
    ranges = dict(labeled=range(45), unlabeled=range(45, 367), gt=range(367, 412))
    sampler = SimpleNamespace(
        num_per_source=counts or dict(labeled=8, unlabeled=16),
        copies=dict(labeled=1, unlabeled=copies, gt=1),
        world_size=world_size,
    )
    dataset = SimpleNamespace(source_ranges=ranges)
    return count_iterations(max_iters, epochs, epoch_of, dataset, sampler)


def test_known_lengths():
    assert count(max_iters=40) == count(max_iters=40.0) == 40
    assert count(epochs=3) == 3 * (322 // 16)
    assert count(epochs=3, epoch_of="labeled") == 3 * (45 // 8)
    assert count(epochs=3, labeled=8) == 3 * (45 // 8), "nothing unlabelled is drawn"
    assert count(epochs=3, epoch_of="gt", gt=2) == 3 * 22
    assert count(epochs=3, world_size=4) == 3 * (322 // 64), "draws of all processes"
    assert count(epochs=3, copies=2) == 3 * (322 // 8), "two views of one image are one draw of it"
    assert count(epochs=0.5) == 10
    # Each of 6 processes takes ceil(322 / 6) = 54 images, 18 times 3.
    assert count(epochs=1, world_size=6, labeled=8, unlabeled=3) == 18 > 322 // 18


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        (dict(), "max_iters=None and epochs=None"),
        (dict(max_iters=10, epochs=2), "max_iters=10 and epochs=2"),
        (dict(max_iters=0), "max_iters=0"),
        (dict(max_iters=2.5), "max_iters=2.5"),
        (dict(max_iters="10"), "max_iters='10'"),
        (dict(epochs=-1), "epochs=-1"),
        (dict(epochs=2, epoch_of="unlabelled"), "'unlabelled'.*'unlabeled'"),
        (dict(epochs=2, epoch_of="gt"), "epoch_of='gt'"),
        (dict(max_iters=10, epoch_of="labeled"), "epoch_of='labeled'"),
        (dict(epochs=2, world_size=99), "epochs=2.*322.*1584"),
    ],
)
def test_lengths_that_nobody_can_mean(settings, match):
    with pytest.raises(ConfigError, match=match):
        count(**settings)


def test_epochs_need_named_sources():
    with pytest.raises(ConfigError, match="epochs=2.*SimpleNamespace"):
        count_iterations(None, 2, None, None, SimpleNamespace())


# ---------------------------------------------------------------- schedules


def test_a_schedule_ends_with_the_run():
    filled = dict(POLY, by_epoch=False, end=101)
    assert complete_schedulers(POLY, 100) == filled
    assert complete_schedulers([POLY], 100) == [filled]
    warmup = dict(type="LinearLR", start_factor=0.1, end=10)
    found = complete_schedulers(dict(segmentor=[warmup, dict(POLY, begin=10)], head=POLY), 100)
    assert found == dict(
        segmentor=[dict(warmup, by_epoch=False), dict(filled, begin=10)], head=filled
    )
    assert dict(type="PolyLR", power=0.9) == POLY, "the config itself stays"


def test_cosine():
    cosine = dict(type="CosineAnnealingLR", eta_min=0.01)
    assert complete_schedulers(cosine, 100) == dict(cosine, by_epoch=False, end=101, T_max=100)
    assert complete_schedulers(dict(cosine, begin=20), 100)["T_max"] == 80
    kept = dict(cosine, by_epoch=False, end=50, T_max=7)
    assert complete_schedulers(kept, 100) == kept


@pytest.mark.parametrize("kind", ["PolyLR", "CosineAnnealingLR", "LinearLR"])
def test_the_last_iteration_has_the_last_rate(kind):
    settings = dict(type=kind, **(dict(end_factor=0.0) if kind == "LinearLR" else dict(eta_min=0)))
    optimizer = torch.optim.SGD(torch.nn.Linear(1, 1).parameters(), lr=1.0)
    scheduler = PARAM_SCHEDULERS.build(dict(complete_schedulers(settings, 20), optimizer=optimizer))
    rates = []
    for _ in range(20):
        optimizer.step()
        scheduler.step()
        rates.append(optimizer.param_groups[0]["lr"])
    assert rates[-1] == pytest.approx(0, abs=1e-6) and rates[-2] > 1e-4


def test_what_follows_the_metrics_is_left_alone():
    plateau = dict(type="ReduceOnPlateauLR", monitor="val_loss")
    assert complete_schedulers([plateau], 100) == [plateau]
    built = object()
    assert complete_schedulers([built], 100) == [built] and complete_schedulers(None, 100) is None


@pytest.mark.parametrize("settings", [dict(by_epoch=True), dict(convert_to_iter_based=True)])
def test_schedules_by_epochs_are_refused(settings):
    with pytest.raises(ConfigError, match="PolyLR.*by_epoch=True"):
        complete_schedulers(dict(POLY, **settings), 100)


def test_an_end_elsewhere_is_named():
    assert not list(ends_elsewhere([dict(POLY, end=100)], 100))
    assert not list(ends_elsewhere([dict(POLY, end=10), dict(POLY, end=101)], 100))
    assert not list(ends_elsewhere(POLY, 100)) and not list(ends_elsewhere(None, 100))
    (found,) = ends_elsewhere(dict(segmentor=[POLY], head=[dict(POLY, end=40001)]), 100)
    assert "40001" in found


# ---------------------------------------------------------------- in a run


@pytest.fixture
def make_runner(toy, tmp_path):
    return functools.partial(toy.runner, tmp_path, teacher=False)


class Pictures(Hook):
    interval = None


def build(make_runner, train_cfg: dict | None = None, save_interval=None, **changes):
    """A runner whose loop, optimiser and schedules are built, as ``Runner.train`` builds them."""
    runner = make_runner(save_interval=save_interval, hooks=(Pictures(),), **changes)
    runner._train_loop = dict(type="SemiIterBasedTrainLoop", **(train_cfg or dict(max_iters=40)))
    loop = runner.build_train_loop(runner._train_loop)
    runner._train_loop = loop
    return runner, loop


def intervals(runner) -> dict[str, int]:
    hooks = {type(hook).__name__: hook for hook in runner.hooks}
    return {name: hooks[name].interval for name in ("AtomicCheckpointHook", "Pictures")}


@pytest.mark.parametrize(
    ("train_cfg", "length", "interval"),
    [
        (dict(max_iters=40), 40, 4),
        (dict(max_iters=7), 7, 1),
        (dict(max_iters=45, num_validations=137 / 30), 45, 9),
        (dict(max_iters=40, val_interval=25), 40, 25),
        (dict(epochs=5), 30, 3),
        (dict(epochs=5, epoch_of="labeled", num_validations=4), 20, 5),
    ],
)
def test_validations_checkpoints_and_pictures_follow(make_runner, train_cfg, length, interval):
    runner, loop = build(make_runner, train_cfg)
    assert (loop.max_iters, loop.val_interval) == (length, interval)
    assert intervals(runner) == dict(AtomicCheckpointHook=interval, Pictures=interval)


def test_intervals_that_are_set_stay(make_runner):
    runner, _ = build(make_runner, save_interval=10)
    assert intervals(runner) == dict(AtomicCheckpointHook=10, Pictures=4)


def test_checkpoints_of_a_stock_loop_follow_its_validations(make_runner, tmp_path):
    runner = make_runner(loop="IterBasedTrainLoop", max_iters=4, val_interval=2, save_interval=None)
    runner.train()
    assert (tmp_path / "iter_2.pth").is_file() and (tmp_path / "iter_4.pth").is_file()


def test_a_run_without_a_word_about_its_schedule(make_runner, tmp_path):
    runner = make_runner(max_iters=12, save_interval=None, val_interval=3)
    runner.param_schedulers = [dict(type="PolyLR", power=0.9)]
    runner._train_loop.pop("val_interval")
    runner.train()
    (schedule,) = runner.param_schedulers
    assert (schedule.end, schedule.by_epoch, schedule.last_step) == (13, False, 12)
    assert runner.optim_wrapper.get_lr()["lr"] == [pytest.approx(0)]
    assert sorted(runner.recorder.metrics) == list(range(1, 13))
    assert (tmp_path / "iter_1.pth").is_file() and (tmp_path / "iter_12.pth").is_file()


def test_a_schedule_that_ends_elsewhere_is_one_line_of_the_log(make_runner):
    runner, _ = build(make_runner, dict(max_iters=40))  # its own ends at 20
    (line,) = [line for line in runner.log.lines if "param_scheduler" in line]
    assert "PolyLR" in line and " 20" in line and " 40" in line
    runner, _ = build(make_runner, dict(max_iters=20))
    assert not any("param_scheduler" in line for line in runner.log.lines)


def test_the_crop_is_the_size_of_a_batch(make_runner, toy):
    def sized(size, crop_size):
        dataset, model = toy.Dataset(), toy.Model()
        dataset.crop_size, model.data_preprocessor.size = crop_size, size
        runner = make_runner(model=model)
        runner._train_dataloader["dataset"] = dataset
        runner.build_train_loop(runner._train_loop)
        return model.data_preprocessor.size

    assert sized(None, [49, 65]) == (49, 65)
    assert sized((64, 64), [49, 65]) == (64, 64), "what is set stays"
    assert sized(None, None) is None


def test_the_counts_of_a_batch_are_its_size(make_runner):
    runner = make_runner()
    del runner._train_dataloader["batch_size"]
    assert runner.build_train_loop(runner._train_loop).dataloader.batch_sampler.batch_size == 4


@pytest.mark.parametrize(
    ("scaling", "ratio"),
    [
        (dict(base_labeled=8), 2 / 8),  # 2 of the batch of 6 are labelled
        (dict(base_batch_size=12), 6 / 12),
        (dict(base_labeled=8, base_batch_size=12), 6 / 12),
    ],
)
def test_the_learning_rate_scales_with_the_labelled_images(make_runner, scaling, ratio):
    counts = dict(labeled=2, unlabeled=4)
    runner = make_runner(
        batch_size=6,
        sampler=dict(type="MultiSourceSampler", num_per_source=counts),
        auto_scale_lr=dict(enable=True, **scaling),
    )
    runner.build_train_loop(runner._train_loop)
    wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    runner.scale_lr(wrapper, runner.auto_scale_lr)
    assert wrapper.get_lr()["lr"] == [pytest.approx(0.05 * ratio)]
