# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
from __future__ import annotations

import itertools

import pytest

from mmsemi.datasets.samplers import MultiSourceSampler, derive_seed
from mmsemi.errors import ConfigError


class TwoSources:
    """Stands in for a SemiDataset: only the ranges matter to the sampler."""

    def __init__(self, labeled=6, unlabeled=6):
        self.source_ranges = {
            "labeled": range(0, labeled),
            "unlabeled": range(labeled, labeled + unlabeled),
        }

    def __len__(self):
        return sum(map(len, self.source_ranges.values()))


def build(monkeypatch=None, rank=0, world_size=1, **kwargs):
    if monkeypatch is not None:
        monkeypatch.setattr("mmsemi.datasets.samplers.get_dist_info", lambda: (rank, world_size))
    kwargs.setdefault("num_per_source", dict(labeled=2, unlabeled=3))
    return MultiSourceSampler(kwargs.pop("dataset", TwoSources()), seed=5, **kwargs)


def take(sampler, count):
    return list(itertools.islice(sampler, count))


def test_every_batch_has_the_counts_in_source_order():
    draws = take(build(), 5 * 20)
    for start in range(0, len(draws), 5):
        batch = [draw.index for draw in draws[start : start + 5]]
        assert all(index < 6 for index in batch[:2]) and all(index >= 6 for index in batch[2:])


def test_each_epoch_of_a_source_shows_every_image_once_in_a_new_order():
    sampler = build()
    epochs = [[sampler.draw("labeled", 6 * e + i).index for i in range(6)] for e in range(3)]
    assert all(sorted(epoch) == list(range(6)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]


def test_equal_sized_sources_do_not_walk_in_step():
    sampler = build()
    labeled = [sampler.draw("labeled", i).index for i in range(60)]
    unlabeled = [sampler.draw("unlabeled", i).index - 6 for i in range(60)]
    assert labeled != unlabeled
    # Independent orders meet by chance about one time in six.
    assert sum(a == b for a, b in zip(labeled, unlabeled)) < 30


def test_a_draw_is_a_function_of_its_number_alone():
    straight = take(build(), 50)
    resumed = build()
    resumed.skip(20)
    assert take(resumed, 30) == straight[20:]
    assert len({draw.seed for draw in straight}) == 50


def test_skip_is_instant_at_any_position():
    sampler = build()
    sampler.skip(5 * 10**9)
    assert take(sampler, 5) == sampler.batch(10**9)


def test_skip_between_batches_is_refused():
    with pytest.raises(ConfigError, match=" 7 .* 5;"):
        build().skip(7)


def test_ranks_share_what_one_process_would_draw(monkeypatch):
    single = build(num_per_source=dict(labeled=4, unlabeled=6))
    ranks = [
        build(monkeypatch, rank, 2, num_per_source=dict(labeled=2, unlabeled=3)) for rank in (0, 1)
    ]
    for iteration in (0, 1, 7):
        together = sum((sampler.batch(iteration) for sampler in ranks), [])
        assert sorted(together) == sorted(single.batch(iteration))


def test_copies_repeat_images_with_new_augmentations():
    sampler = build(num_per_source=dict(labeled=1, unlabeled=4), copies=dict(unlabeled=2))
    for iteration in range(6):
        first, second = sampler.batch(iteration)[1:3], sampler.batch(iteration)[3:5]
        assert [d.index for d in first] == [d.index for d in second]
        assert not {d.seed for d in first} & {d.seed for d in second}


def test_epoch_length_ends_an_epoch_and_goes_on():
    sampler = build(epoch_length=3)
    first, second = list(sampler), list(sampler)
    assert len(first) == len(second) == len(sampler) == 15
    assert first + second == take(build(), 30)
    sampler.set_epoch(1)
    assert list(sampler) == second


def test_the_seed_survives_a_checkpoint():
    sampler, other = build(), MultiSourceSampler(TwoSources(), dict(labeled=2, unlabeled=3), seed=9)
    assert take(sampler, 10) != take(other, 10)
    other.load_state_dict(sampler.state_dict())
    assert take(sampler, 10) == take(other, 10)


@pytest.mark.parametrize(
    ("kwargs", "value"),
    [
        (dict(num_per_source=dict(labelled=2)), "num_per_source .*'labelled'.*'labeled'"),
        (dict(num_per_source=dict(labeled=1), copies=dict(label=2)), "copies .*'label'.*'labeled'"),
        (dict(num_per_source=dict(labeled=0)), "num_per_source"),
        (dict(num_per_source=dict(labeled=-1)), "num_per_source.labeled=-1"),
        (
            dict(num_per_source=dict(unlabeled=3), copies=dict(unlabeled=2)),
            "num_per_source.unlabeled=3 .*copies.unlabeled=2",
        ),
        (
            dict(dataset=TwoSources(6, 0), num_per_source=dict(labeled=1, unlabeled=4)),
            "'unlabeled' .*num_per_source.unlabeled=4.*batch_size by 4",
        ),
    ],
)
def test_impossible_counts_say_what_to_change(kwargs, value):
    with pytest.raises(ConfigError, match=value):
        build(**kwargs)


def test_a_plain_dataset_is_refused():
    with pytest.raises(ConfigError, match="SemiDataset, .*list"):
        MultiSourceSampler([1, 2], dict(labeled=1))


def test_derived_seeds_are_stable_and_distinct():
    # The stored value guards resumed runs against a change of the derivation.
    assert derive_seed(0, 1, 2) == derive_seed(0, 1, 2) < 2**63
    assert len({derive_seed(0, a, b) for a in range(20) for b in range(20)}) == 400
