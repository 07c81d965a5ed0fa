# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Known answers of docs/methods/u2pl.md."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from mmsemi.models.losses import (
    class_centers,
    class_pixels,
    draw_members,
    draw_some,
    entropy_map,
    info_nce,
    masked_percentiles,
    mean_of_classes,
    position_of,
    reliable_cross_entropy,
    unreliable_percent,
)


def maps(*rows: tuple[float, ...]) -> Tensor:
    """Probabilities (1, C, 1, W) of pixels in a row."""
    return torch.tensor(rows, dtype=torch.float64).T[None, :, None]


@pytest.mark.parametrize(
    ("total", "steps", "expected"),
    [(80, (0, 1, 40, 79), (20, 19.75, 10, 0.25)), (200, (0, 1, 100, 199), (20, 19.9, 10, 0.1))],
)
def test_the_percentage_falls(total, steps, expected):
    """Of E epochs; with 7 iterations each it stays through an epoch."""
    for epoch, value in zip(steps, expected):
        assert unreliable_percent(20, epoch, total) == pytest.approx(value)
        for iteration in (7 * epoch, 7 * epoch + 6):
            assert unreliable_percent(20, iteration, 7 * total, 7) == pytest.approx(value)
    assert unreliable_percent(20, total + 5, total) == 0


def test_entropy():
    def of(*probabilities: float) -> float:
        return entropy_map(maps(probabilities).log()).item()

    assert of(0.7, 0.2, 0.1) == pytest.approx(0.801819, abs=1e-6)
    assert of(*[1 / 21] * 21) == pytest.approx(3.044522, abs=1e-6)
    assert of(*[1 / 19] * 19) == pytest.approx(2.944439, abs=1e-6)
    assert entropy_map(torch.tensor([200.0, 0, 0]).view(1, 3, 1, 1)).item() == 0
    half = torch.randn(1, 3, 2, 2).bfloat16()
    assert entropy_map(half).dtype == torch.float32
    assert not entropy_map(half.requires_grad_()).requires_grad


def test_percentiles_and_masks():
    entropy = torch.arange(1, 11).view(1, 2, 5) / 10
    label = torch.zeros(1, 2, 5, dtype=torch.long)
    label[0, 1, 4] = 255
    valid = label != 255
    low, high = masked_percentiles(entropy, valid, (20, 80))
    assert low.item() == pytest.approx(0.26) and high.item() == pytest.approx(0.74)
    kept = valid & (entropy < high)
    assert kept.flatten().tolist() == [True] * 7 + [False] * 3
    assert (valid & (entropy <= low)).sum() == 2
    assert (valid & (entropy >= high)).flatten().nonzero().flatten().tolist() == [7, 8]
    loss = reliable_cross_entropy(torch.zeros(1, 2, 2, 5), label, kept)
    assert loss.item() == pytest.approx(10 / 7 * math.log(2), abs=1e-6)


def test_the_limit_itself_is_unreliable():
    entropy = torch.arange(11, dtype=torch.float64) / 10
    valid = torch.ones(11, dtype=torch.bool)
    (limit,) = masked_percentiles(entropy, valid, (80,))
    assert limit == entropy[8] and (entropy < limit).sum() == 8 and (entropy >= limit)[8]


def test_percentiles_are_numpys():
    generator = np.random.default_rng(0)
    values, valid = generator.random(1001), generator.random(1001) < 0.6
    percents = [0, 0.25, 20, 33.3, 99.75, 100]
    expected = np.percentile(values[valid], percents)
    found = masked_percentiles(torch.tensor(values), torch.tensor(valid), percents)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    found = masked_percentiles(torch.tensor(values).float(), torch.tensor(valid), percents)
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found, expected, rtol=2e-7)


def test_nothing_is_left():
    logits = torch.randn(2, 3, 4, 4, requires_grad=True)
    entropy, nothing = torch.rand(2, 4, 4), torch.zeros(2, 4, 4, dtype=torch.bool)
    low, high = masked_percentiles(entropy, nothing, (20, 80))
    assert low == high == torch.inf
    label = torch.full((2, 4, 4), 255)
    loss = reliable_cross_entropy(logits, label, nothing & (entropy < high))
    assert loss == 0
    loss.backward()
    assert not logits.grad.any()
    same = torch.full((2, 4, 4), 0.7)
    (limit,) = masked_percentiles(same, ~nothing, (80,))
    assert limit == same[0, 0, 0] and not (same < limit).any()


def keys(probability: Tensor, label: int, num_labeled: int, **ranks: int) -> list[int]:
    """Classes that a single pixel is a key of."""
    found = class_pixels(
        probability,
        torch.full((1, 1, 1), label),
        *[torch.full((1, 1, 1), label != 255)] * 2,
        num_labeled,
        **ranks,
    )
    return found.keys_CP[:, 0].nonzero().flatten().tolist()


def test_ranks():
    p = maps((0.40, 0.25, 0.15, 0.10, 0.06, 0.04))
    assert keys(p, 0, 0) == [3, 4, 5] and keys(p, 0, 0, high_rank=5) == [3, 4]
    assert keys(p, 1, 1) == [0, 2] and keys(p, 4, 1) == [0, 1, 2] and keys(p, 255, 1) == []


def test_info_nce():
    def of(*vectors: tuple[float, ...]) -> float:
        anchor, positive, *negatives = (torch.tensor(v, dtype=torch.float64) for v in vectors)
        return info_nce(anchor[None], positive, torch.stack(negatives)[None]).item()

    positive, negatives = (0.6, 0.8), ((0.0, 1.0), (-1.0, 0.0))
    for scale in (1, 7):
        found = of((scale * 1.0, 0.0), positive, *negatives)
        assert found == pytest.approx(0.294129, abs=1e-6)
    x, y, back = (1.0, 0.0), (0.0, 1.0), (-1.0, 0.0)
    assert of(x, x, *[x] * 50) == pytest.approx(3.931826, abs=1e-6)
    assert of(x, x, *[y] * 50) == pytest.approx(2.049854, abs=1e-6)
    assert of(x, x, *[back] * 50) == pytest.approx(0.650126, abs=1e-6)
    assert of(x, back, *[x] * 50) == pytest.approx(7.912389, abs=1e-6)
    assert of(x, x, *[back] * 256) == pytest.approx(1.738500, abs=1e-6)


def test_info_nce_of_random_vectors():
    r = np.random.RandomState(0)
    anchor, positive, negatives = (torch.tensor(r.randn(*s)) for s in ((4, 8), (8,), (4, 5, 8)))
    anchor.requires_grad_()
    losses = info_nce(anchor, positive, negatives)
    expected = [1.694792, 2.555420, 3.047272, 1.448180]
    assert losses.tolist() == pytest.approx(expected, abs=1e-6)
    assert losses.mean().item() == pytest.approx(2.186416, abs=1e-6)
    losses.mean().backward()
    norms = anchor.grad.norm(dim=1).tolist()
    assert norms == pytest.approx([0.1191, 0.3264, 0.1690, 0.0955], abs=5e-5)
    assert info_nce(anchor, positive, negatives, 0.1).mean().item() == pytest.approx(
        5.433248, abs=1e-6
    )
    assert info_nce(anchor.bfloat16(), positive.bfloat16(), negatives.bfloat16()).dtype == (
        torch.float32
    )


LABELS = [[[0, 1], [2, 255]], [[1, 1], [0, 2]], [[255, 0], [2, 2]]]


def test_members_have_their_own_label():
    labels = torch.tensor(LABELS)
    p, valid = torch.full((3, 3, 2, 2), 1 / 3), labels != 255
    for count in (3, 0):
        members = class_pixels(p, labels, valid, valid, count).members_CP.view(3, 3, 2, 2)
        assert torch.equal(members, torch.arange(3).view(3, 1, 1, 1) == labels)
        everything = torch.ones_like(valid)
        found = class_pixels(p, labels, everything, everything, count, released=True)
        sets = found.members_CP.view(3, 3, 4)
        in_first = [sets[:, 0, i].nonzero().flatten().tolist() for i in range(4)]
        assert in_first == [[0, 1], [0, 1], [0, 2], []] and not sets[:, 1:].any()


def random_case() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Probabilities, labels, low and high pixels of 2 labelled and 2 unlabelled 4 x 4 images."""
    r = np.random.RandomState(0)
    y = torch.tensor(r.randint(0, 6, (2, 4, 4)))
    y[0, 0, 0] = 255
    zl, zu, zt = (torch.tensor(1.5 * r.randn(2, 6, 4, 4)) for _ in range(3))
    label, entropy = (zu + 0.5 * zt).argmax(1), entropy_map(zu)
    valid = torch.ones_like(label, dtype=torch.bool)
    low, high = masked_percentiles(entropy, valid, (20, 80))
    assert low.item() == pytest.approx(0.934469, abs=1e-6)
    assert high.item() == pytest.approx(1.414886, abs=1e-6)
    sure = y != 255
    masks = torch.cat([sure, entropy <= low]), torch.cat([sure, entropy >= high])
    return torch.cat([zl, zu]).softmax(1), torch.cat([y, label]), *masks


@pytest.mark.parametrize(
    ("released", "members", "anchors", "labeled", "unlabeled"),
    [
        (
            False,
            [10, 7, 4, 7, 4, 6],
            [2, 3, 2, 0, 3, 3],
            [5, 13, 10, 7, 13, 7],
            [1, 4, 5, 3, 2, 6],
        ),
        (True, [7, 4, 5, 8, 4, 6], [2, 1, 1, 1, 1, 2], [0] * 6, [0, 0, 0, 2, 0, 1]),
    ],
)
def test_masks_of_random_maps(released, members, anchors, labeled, unlabeled):
    found = class_pixels(*random_case(), 2, low_rank=2, high_rank=5, released=released)
    assert found.members_CP.sum(1).tolist() == members
    assert found.anchors_CP.sum(1).tolist() == anchors
    keys_CNP = found.keys_CP.view(6, 4, 16)
    assert keys_CNP[:, :2].sum((1, 2)).tolist() == labeled
    assert keys_CNP[:, 2:].sum((1, 2)).tolist() == unlabeled


def test_the_mean_of_classes():
    losses = torch.tensor([1.0, 2.0, 3.0, torch.pi, torch.e, 7.0], requires_grad=True)
    counts = torch.tensor([True, True, True, False, False, False])
    valid = torch.tensor([True] * 5 + [False])
    mean = mean_of_classes(losses, counts, valid)
    assert mean.item() == pytest.approx(1.2)
    mean.backward()
    assert losses.grad.tolist() == pytest.approx([0.2, 0.2, 0.2, 0, 0, 0])
    one = mean_of_classes(losses, counts, torch.arange(6) == 0)
    assert one == 0 and one.requires_grad
    assert mean_of_classes(losses, counts & False, valid & False) == 0


def test_draws_are_members_and_uniform():
    generator = torch.Generator().manual_seed(0)
    mask = torch.rand(3, 40, generator=generator) < torch.tensor([[0.2], [0.6], [0.0]])
    drawn = draw_members(mask, torch.rand(3, 20_000, generator=generator))
    for own, found in zip(mask[:2], drawn):
        count = torch.bincount(found, minlength=40)
        assert torch.equal(count > 0, own)
        share = count[own] / 20_000 * own.sum()
        assert (share - 1).abs().max() < 0.2
    assert drawn[2].max() < 40
    ends = draw_members(mask[:2], torch.tensor([[0.0, 1 - 2**-24]] * 2))
    for own, found in zip(mask, ends):
        members = own.nonzero().flatten()
        assert found.tolist() == [members[0], members[-1]]
    counts = torch.tensor([0, 1, 131_072, 3_000_001])
    assert position_of(torch.tensor(1 - 2**-24), counts).tolist() == [0, 0, 131_071, 3_000_000]


def test_some_are_drawn_without_replacement():
    generator = torch.Generator().manual_seed(0)
    mask = torch.rand(3, 40, generator=generator) < torch.tensor([[0.1], [0.9], [0.0]])
    index, valid = draw_some(mask, torch.rand(40, generator=generator), 8)
    assert index.shape == valid.shape == (3, 8)
    assert valid.sum(1).tolist() == [min(8, int(row.sum())) for row in mask]
    for own, found, real in zip(mask, index, valid):
        assert own[found[real]].all() and len(set(found[real].tolist())) == real.sum()
    index, valid = draw_some(mask, torch.rand(40, generator=generator), 50)
    assert index.shape == (3, 50) and torch.equal(valid.sum(1), mask.sum(1)) and index.max() < 40


def test_centers():
    features = torch.randn(5, 2)
    members = torch.tensor([[True, False, True, False, False], [False] * 5])
    centers = class_centers(features, members)
    torch.testing.assert_close(centers[0], (features[0] + features[2]) / 2)
    assert not centers[1].any()
