# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Known answers of the directional contrastive loss: docs/methods/cac.md#known-answers."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from reference.cac import one_direction
from torch import Tensor

from mmsemi.models.losses import (
    NO_LABEL,
    DirectionalContrastiveLoss,
    Pixels,
    directional_contrastive_loss,
)

RELEASED = 1e-8


def at(*degrees: float) -> Tensor:
    """Unit vectors of the plane."""
    angles = torch.tensor(degrees, dtype=torch.float64) * math.pi / 180
    return torch.stack([angles.cos(), angles.sin()], 1)


def draw(seed: int, pixels: int, rows: int, channels: int, classes: int) -> list:
    """Both views, with gradient, and a bank."""
    random = np.random.RandomState(seed)
    first, second, bank = (
        torch.tensor(random.randn(n, channels), dtype=torch.float32) for n in (pixels, pixels, rows)
    )
    labels = [torch.tensor(random.randint(0, classes, n)) for n in (pixels, pixels, rows)]
    sure = [torch.tensor(random.uniform(0, 1, pixels), dtype=torch.float32) for _ in range(2)]
    views = [
        Pixels(torch.nn.functional.normalize(x, dim=1).requires_grad_(), k, c)
        for x, k, c in zip((first, second), labels, sure)
    ]
    return [*views, torch.nn.functional.normalize(bank, dim=1), labels[2]]


def gradients(given: list, *losses: Tensor) -> list[Tensor | None]:
    features = [view.features_ND for view in given[:2]]
    return list(torch.autograd.grad(sum(losses), features, allow_unused=True))


def test_by_hand():
    """Three pixels, four rows, tau = 0.5."""
    first = Pixels(at(0, 90, 180), torch.tensor([0, 1, 1]), torch.tensor([0.6, 0.9, 0.8]))
    second = Pixels(at(60, 90, 120), torch.tensor([0, 1, 0]), torch.tensor([0.8, 0.7, 0.76]))
    bank = at(90, 180, 0, 60), torch.tensor([1, 1, 0, 2])
    module = DirectionalContrastiveLoss(temperature=0.5)
    found = module(first, second, *bank)
    assert found.first.item() == pytest.approx(0.882803, abs=1e-6)
    e = math.e
    assert found.first.item() == pytest.approx(-math.log(e / (e + 1 + e**-2 + e)))
    assert found.second.item() == pytest.approx(1.133592, abs=1e-6)
    assert found.selected.item() == 1
    # One pixel alone: all three losses of each direction, whatever is selected.
    for which, expected in (
        (0, (0.882803, 0.642002, 0.169846)),
        (1, (1.780523, 0.642002, 1.625181)),
    ):
        for i, value in enumerate(expected):
            views = [
                Pixels(v.features_ND[[i]], v.label_N[[i]], torch.zeros(1)) for v in (first, second)
            ]
            views[1 - which] = views[1 - which]._replace(confidence_N=torch.ones(1))
            assert module(*views, *bank)[which].item() == pytest.approx(value, abs=1e-6)


# gamma; losses as released and exact; norms of the gradients of their sum, likewise; selected.
RANDOM = [
    (0.75, (3.373679, 3.231428), (3.373679, 3.231429), (8.881146, 12.452995), None, 3),
    (0.5, (6.208473, 3.231428), (6.208954, 3.231429), (8.058914, 12.452995), (8.064268, 12.452999), 4),
    (0.0, (6.227852, 3.231428), (6.228145, 3.231429), (5.968423, 12.452995), None, 6),
]  # fmt: skip


@pytest.mark.parametrize("chunk", [5, 1024])
@pytest.mark.parametrize(
    ("threshold", "released", "exact", "norms", "exact_norms", "count"), RANDOM
)
def test_random_case(threshold, released, exact, norms, exact_norms, count, chunk):
    for eps, losses, sizes in ((RELEASED, released, norms), (0.0, exact, exact_norms)):
        given = draw(0, 6, 12, 8, 4)
        found = directional_contrastive_loss(*given, threshold=threshold, eps=eps, chunk=chunk)
        assert [x.item() for x in found[:2]] == pytest.approx(losses, abs=2e-6)
        assert found.selected.item() == pytest.approx(count / 6)
        if sizes is not None:
            both = [x.norm().item() for x in gradients(given, *found[:2])]
            assert both == pytest.approx(sizes, abs=1e-5)


def test_one_direction_moves_its_anchors_alone():
    given = draw(0, 6, 12, 8, 4)
    found = directional_contrastive_loss(*given)
    first, second = gradients(given, found.first)
    assert not second.any()
    expected = [0, 0, 0, 0, 6.601524, 5.940929]
    assert first.norm(dim=1).tolist() == pytest.approx(expected, abs=1e-5)


def test_another_temperature_and_a_larger_case():
    found = directional_contrastive_loss(*draw(0, 6, 12, 8, 4), temperature=0.5, eps=RELEASED)
    assert [x.item() for x in found[:2]] == pytest.approx((2.175910, 2.122782), abs=2e-6)
    for eps, expected in ((RELEASED, (6.521618, 6.466746)), (0.0, (6.521627, 6.466754))):
        found = directional_contrastive_loss(*draw(1, 64, 512, 128, 21), threshold=0.5, eps=eps)
        assert [x.item() for x in found[:2]] == pytest.approx(expected, abs=3e-6)
        assert found.selected.item() == 48 / 64


def far_pair(row: float, label: int) -> tuple:
    """An anchor whose target points the other way, and one row of the bank."""
    first = Pixels(at(0).float().requires_grad_(), torch.tensor([0]), torch.tensor([0.5]))
    second = Pixels(at(180).float(), torch.tensor([1]), torch.tensor([0.9]))
    return first, second, at(row).float(), torch.tensor([label])


@pytest.mark.parametrize(
    ("row", "label", "released", "exact"),
    [
        (0, 0, 1.766724, 0.0),  # of the anchor's class: no negative
        (0, 1, 18.233276, 20.0),
        (180, 1, math.log(2), math.log(2)),  # the target itself as the only negative
        (0, NO_LABEL, 1.766724, 0.0),
    ],
)
def test_far_pairs(row, label, released, exact):
    for eps, expected in ((RELEASED, released), (0.0, exact)):
        found = directional_contrastive_loss(*far_pair(row, label), eps=eps)
        assert found.first.item() == pytest.approx(expected, abs=1e-4)
        assert found.second == 0


def test_nothing_selected_is_zero_with_a_graph():
    given = draw(0, 6, 12, 8, 4)
    for change in (dict(threshold=1.0), dict(confidence_N=torch.full((6,), 0.9))):
        views = [
            view._replace(**change) if "confidence_N" in change else view for view in given[:2]
        ]
        found = directional_contrastive_loss(
            *views, *given[2:], threshold=change.get("threshold", 0.75)
        )
        assert found.first == found.second == found.selected == 0
        assert not any(x.any() for x in gradients(given, *found[:2]))
    nothing = [Pixels(*(part[:0] for part in view)) for view in given[:2]]
    found = directional_contrastive_loss(*nothing, *given[2:])
    assert found.first == found.second == found.selected == 0 and found.first.requires_grad


@pytest.mark.parametrize("eps", [0.0, RELEASED])
def test_values_and_gradients_are_those_of_the_full_matrix(eps):
    """In double precision, some rows without a label; the reference knows nothing of chunks."""
    given = draw(3, 40, 90, 16, 5)
    views = [
        view._replace(features_ND=view.features_ND.detach().double().requires_grad_())
        for view in given[:2]
    ]
    bank, labels = given[2].double(), torch.where(torch.arange(90) % 7 == 0, NO_LABEL, given[3])
    found = directional_contrastive_loss(*views, bank, labels, threshold=0.4, eps=eps, chunk=32)
    settings = (0.4, bank, labels, 0.1, eps)
    expected = [one_direction(*pair, *settings) for pair in (views, views[::-1])]
    torch.testing.assert_close([*found[:2]], expected)
    ours, theirs = (
        gradients(views, 2 * found.first, found.second),
        gradients(views, 2 * expected[0], expected[1]),
    )
    torch.testing.assert_close(ours, theirs)


def test_gradients_by_finite_differences():
    given = draw(5, 6, 9, 4, 3)
    first, second = (view.features_ND.detach().double().requires_grad_() for view in given[:2])

    def losses(one: Tensor) -> Tensor:
        views = given[0]._replace(features_ND=one), given[1]._replace(features_ND=second)
        return directional_contrastive_loss(
            *views, given[2].double(), given[3], threshold=0.1
        ).first

    assert torch.autograd.gradcheck(losses, [first])


def test_half_precision_features_are_computed_in_float32():
    given = draw(0, 6, 12, 8, 4)
    views = [view._replace(features_ND=view.features_ND.bfloat16()) for view in given[:2]]
    exact = [view._replace(features_ND=view.features_ND.float()) for view in views]
    expected = directional_contrastive_loss(*exact, *given[2:])
    with torch.autocast("cpu", torch.bfloat16):
        found = directional_contrastive_loss(*views, *given[2:])
    assert found.first.dtype == torch.float32
    torch.testing.assert_close(tuple(found), tuple(expected))
