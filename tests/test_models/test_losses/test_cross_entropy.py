# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Cross-entropies against the known answers of docs/methods/cps.md and against numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor

from mmsemi.models.losses import (
    ProbOhemCrossEntropy,
    cross_entropy,
    image_confidence_cross_entropy,
    ohem_cross_entropy,
)
from mmsemi.models.views import MixRecipe, Paste
from mmsemi.structures import PseudoLabels


def logits_from_pixels(images: list[list[list[float]]]) -> Tensor:
    """(image, pixel, class) lists to (N, C, 1, W)."""
    return torch.tensor(images).permute(0, 2, 1).unsqueeze(2).contiguous()


def cps_case() -> tuple[Tensor, Tensor, Tensor]:
    """docs/methods/cps.md#loss-by-hand: logits of both networks and the label of image 0."""
    f1 = logits_from_pixels([[[2, 0, -1], [0, 1, 0.5]], [[0, 1, 0], [3, -1, 0]]])
    f2 = logits_from_pixels([[[0.5, 1, 0], [0, 2, 0]], [[1, 0, 2], [1, 0, -2]]])
    return f1.requires_grad_(), f2.requires_grad_(), torch.tensor([[[0, 255]]])


def approx(value: float):
    return pytest.approx(value, abs=1e-6)


def test_cps_hand_case():
    f1, f2, label = cps_case()
    k1, k2 = f1.argmax(dim=1), f2.argmax(dim=1)
    assert k1.squeeze(1).tolist() == [[0, 1], [1, 0]]
    assert k2.squeeze(1).tolist() == [[1, 1], [2, 0]]
    loss_1, loss_2 = cross_entropy(f1, k2), cross_entropy(f2, k1)
    assert loss_1.item() == approx(1.116861)
    assert loss_2.item() == approx(1.044108)
    sup_1, sup_2 = cross_entropy(f1[:1], label), cross_entropy(f2[:1], label)
    assert sup_1.item() == approx(0.169846)
    assert sup_2.item() == approx(1.180270)
    assert (sup_1 + sup_2 + 1.5 * (loss_1 + loss_2)).item() == approx(4.591570)
    unlabeled_only = cross_entropy(f1[1:], k2[1:]) + cross_entropy(f2[1:], k1[1:])
    assert unlabeled_only.item() == approx(2.186973)
    (gradient,) = torch.autograd.grad(loss_1 + loss_2, f1)
    assert gradient[0, :, 0, 0].tolist() == approx([0.210949, -0.221451, 0.010503])


def test_cps_hand_case_pixel_by_pixel():
    f1, f2, _ = cps_case()
    for logits, labels, expected in [
        (f1, f2.argmax(dim=1), [2.169846, 0.680270, 1.551445, 0.065884]),
        (f2, f1.argmax(dim=1), [1.180270, 0.239545, 2.407606, 0.349012]),
    ]:
        for i, value in enumerate(expected):
            only = torch.full_like(labels, 255)
            only.view(-1)[i] = labels.view(-1)[i]
            assert cross_entropy(logits, only).item() == approx(value)


def test_cps_random_case():
    random = np.random.RandomState(7)
    a, b = (torch.from_numpy(random.randn(2, 5, 3, 4).astype(np.float32)) for _ in range(2))
    a.requires_grad_()
    loss_a, loss_b = cross_entropy(a, b.argmax(dim=1)), cross_entropy(b, a.argmax(dim=1))
    assert loss_a.item() == approx(1.863020)
    assert loss_b.item() == approx(1.984210)
    (gradient,) = torch.autograd.grad(loss_a + loss_b, a)
    assert gradient.norm().item() == approx(0.190334)


def test_cutmix_random_case():
    """docs/methods/cps.md#mixed-images-and-labels: argmax of the mixed logits."""
    random = np.random.RandomState(3)
    u0_1, u1_1, u0_2, u1_2, q1, q2 = (
        torch.from_numpy(random.randn(2, 4, 4, 6).astype(np.float32)) for _ in range(6)
    )
    mask = torch.zeros(2, 1, 4, 6, dtype=torch.bool)
    mask[0, :, 1:3, 2:5] = True
    mask[1, :, 0:2] = True
    recipe = MixRecipe(torch.arange(2), [Paste(mask, torch.arange(2) + 2)])
    k1 = recipe.apply(torch.cat([u0_1, u1_1])).argmax(dim=1)
    k2 = recipe.apply(torch.cat([u0_2, u1_2])).argmax(dim=1)
    assert cross_entropy(q1, k2).item() == approx(1.740809)
    assert cross_entropy(q2, k1).item() == approx(1.696570)
    # Mixing the labels instead of the logits is the same thing.
    assert torch.equal(k1, recipe.apply(torch.cat([u0_1, u1_1]).argmax(dim=1)))


OHEM_PROBABILITIES = [
    [0.9, 0.05, 0.05],
    [0.6, 0.3, 0.1],
    [0.2, 0.7, 0.1],
    [0.1, 0.1, 0.8],
    [0.75, 0.2, 0.05],
    [0.34, 0.33, 0.33],
]
OHEM_LABELS = torch.tensor([[[0, 0, 0, 2, 0, 255]]])


@pytest.mark.parametrize(
    ("min_kept", "expected"),
    [(1, 1.060132), (3, 0.802649), (4, 0.657772), (5, 0.547290), (6, 0.547290), (7, 0.547290)],
)
def test_ohem_hand_case(min_kept, expected):
    logits = logits_from_pixels([OHEM_PROBABILITIES]).log().requires_grad_()
    loss = ohem_cross_entropy(logits, OHEM_LABELS, thresh=0.7, min_kept=min_kept)
    assert loss.item() == approx(expected)
    loss.backward()
    kept = (logits.grad.abs().sum(dim=1) > 0).sum().item()
    assert kept == {1: 2, 3: 3, 4: 4}.get(min_kept, 5)


def reference_ohem(logits: Tensor, labels: Tensor, thresh: float, min_kept: int) -> float:
    """The loss of the CPS code, written with numpy and sorting."""
    log_prob = F.log_softmax(logits.double(), dim=1).permute(0, 2, 3, 1).reshape(-1, 7).numpy()
    labels = labels.flatten().numpy()
    valid = labels != 255
    true_log_prob = log_prob[np.arange(len(labels)), np.where(valid, labels, 0)]
    prob = np.where(valid, np.exp(true_log_prob), 1.0)
    kept = valid
    if min_kept <= valid.sum():
        kept = valid & (prob <= max(thresh, np.sort(prob)[min_kept - 1]))
    return -true_log_prob[kept].mean()


@pytest.mark.parametrize("min_kept", [1, 20, 60, 100, 10_000])
@pytest.mark.parametrize("thresh", [0.05, 0.7])
def test_ohem_equals_numpy(thresh, min_kept):
    generator = torch.Generator().manual_seed(11)
    logits = torch.randn(2, 7, 6, 9, generator=generator) * 2
    labels = torch.randint(0, 7, (2, 6, 9), generator=generator)
    labels[:, :, -2:] = 255
    result = ohem_cross_entropy(logits, labels, thresh, min_kept)
    assert result.item() == pytest.approx(reference_ohem(logits, labels, thresh, min_kept), 1e-5)


def test_ohem_without_minimum_may_keep_nothing():
    logits = logits_from_pixels([OHEM_PROBABILITIES]).log()
    assert ohem_cross_entropy(logits, OHEM_LABELS, 0.7, min_kept=0).item() == approx(1.060132)
    assert ohem_cross_entropy(logits, OHEM_LABELS, 0.1, min_kept=0).item() == 0


LOSSES = [
    dict(type="PixelCrossEntropy"),
    dict(type="ProbOhemCrossEntropy", min_kept=4),
    dict(type="ProbOhemCrossEntropy", min_kept=50_000),
]


@pytest.mark.parametrize("cfg", LOSSES)
def test_all_ignored_gives_zero_with_a_graph(cfg):
    logits = torch.randn(2, 3, 4, 5, requires_grad=True)
    loss = MODELS.build(cfg)(logits, torch.full((2, 4, 5), 255), ignore_index=255)
    assert loss.item() == 0
    loss.backward()
    assert torch.equal(logits.grad, torch.zeros_like(logits))


@pytest.mark.parametrize("cfg", LOSSES)
def test_ignored_borders_change_nothing(cfg):
    logits, labels = torch.randn(2, 3, 4, 5), torch.randint(0, 3, (2, 4, 5))
    loss = MODELS.build(cfg)
    padded = F.pad(logits, (1, 2, 3, 4), value=7.0)
    padded_labels = F.pad(labels, (1, 2, 3, 4), value=255)
    torch.testing.assert_close(loss(padded, padded_labels), loss(logits, labels))


@pytest.mark.parametrize("cfg", LOSSES)
def test_half_precision_is_computed_in_float32(cfg):
    logits, labels = torch.randn(2, 3, 4, 5).bfloat16(), torch.randint(0, 3, (2, 4, 5))
    loss = MODELS.build(cfg)
    expected = loss(logits.float(), labels)
    assert torch.equal(loss(logits, labels), expected)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(loss(logits, labels), expected)
        assert torch.equal(loss(logits.float(), labels), expected)


@pytest.mark.parametrize("cfg", LOSSES)
def test_nothing_is_read_back_to_the_host(cfg):
    """Tensors without data refuse every host read: `.item()`, `nonzero`, boolean indexing."""
    logits = torch.randn(2, 3, 40, 50, device="meta", requires_grad=True)
    labels = torch.zeros(2, 40, 50, dtype=torch.uint8, device="meta")
    MODELS.build(cfg)(logits, labels, weight=labels).backward()
    stock = MODELS.build(dict(type="CrossEntropyLoss", avg_non_ignore=True))
    with pytest.raises(RuntimeError, match="item"):
        stock(logits, labels.long(), ignore_index=255)


@pytest.mark.parametrize("cfg", LOSSES)
def test_labels_of_any_integer_type(cfg):
    logits, labels = torch.randn(2, 3, 4, 5), torch.randint(0, 3, (2, 4, 5))
    labels[0, 0] = 255
    loss = MODELS.build(cfg)
    assert torch.equal(loss(logits, labels.to(torch.uint8)), loss(logits, labels))


@pytest.mark.parametrize("cfg", LOSSES)
def test_weights_scale_pixels_and_keep_the_divisor(cfg):
    logits, labels = torch.randn(2, 3, 4, 5), torch.randint(0, 3, (2, 4, 5))
    loss = MODELS.build(cfg)
    weight = torch.zeros(2, 4, 5)
    weight[0] = 2
    both = loss(logits, labels, weight=weight) + loss(logits, labels, weight=2 - weight)
    torch.testing.assert_close(both, 2 * loss(logits, labels))


def test_modules_carry_weight_and_name():
    logits, labels = torch.randn(1, 3, 4, 5), torch.randint(0, 3, (1, 4, 5))
    for cfg in LOSSES:
        single, double = MODELS.build(cfg), MODELS.build({**cfg, "loss_weight": 2.0})
        torch.testing.assert_close(double(logits, labels), 2 * single(logits, labels))
        assert MODELS.build({**cfg, "loss_name": "loss_aux"}).loss_name == "loss_aux"
    assert MODELS.build(LOSSES[0]).loss_name == "loss_ce"
    assert MODELS.build(LOSSES[1]).loss_name == "loss_ohem"


def test_pixel_cross_entropy_equals_mmseg_over_valid_pixels():
    logits, labels = torch.randn(2, 3, 4, 5), torch.randint(0, 3, (2, 4, 5))
    labels[:, 2:] = 255
    stock = MODELS.build(dict(type="CrossEntropyLoss", avg_non_ignore=True))
    ours = MODELS.build(dict(type="PixelCrossEntropy"))
    for target in (labels, torch.full_like(labels, 255)):
        torch.testing.assert_close(
            ours(logits, target, ignore_index=255), stock(logits, target, ignore_index=255)
        )


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match=r"thresh=1\.5"):
        ProbOhemCrossEntropy(thresh=1.5)
    with pytest.raises(ValueError, match="min_kept=-1"):
        ProbOhemCrossEntropy(min_kept=-1)
    with pytest.raises(ValueError, match="at least 2 classes"):
        cross_entropy(torch.zeros(1, 1, 2, 2), torch.zeros(1, 2, 2, dtype=torch.long))


def weighted_case() -> tuple[Tensor, PseudoLabels, Tensor]:
    """docs/methods/prevmatch.md#image-mean: logits of that cross-entropy, confidences, valid pixels."""
    losses = torch.tensor([[[1.0, 2], [3, 4]], [[0.5, 0.5], [1, 2]]])
    confidence = torch.tensor([[[0.9, 0.8], [0.7, 0.6]], [[1, 1], [0.5, 0.5]]])
    valid = torch.ones(2, 2, 2, dtype=torch.bool)
    valid[0, 1, 1] = False
    logits = torch.stack([-losses, (1 - (-losses).exp()).log()], 1).requires_grad_()
    return logits, PseudoLabels(torch.zeros(2, 2, 2, dtype=torch.long), confidence), valid


def test_images_weighted_by_their_confidence():
    logits, pseudo, valid = weighted_case()
    loss = image_confidence_cross_entropy(logits, pseudo, valid)
    assert loss.item() == approx(1.114286) and loss.requires_grad
    released = image_confidence_cross_entropy(logits, pseudo, valid, released_batch=2)
    assert released.item() == approx(3.1)
    # The factor of the published runs, whatever the batch is.
    four = image_confidence_cross_entropy(logits, pseudo, valid, released_batch=4)
    assert four.item() == approx(6.2)
    twice = [torch.cat([x] * 2) for x in (logits, *pseudo[:2], valid)]
    two_views = image_confidence_cross_entropy(
        twice[0], PseudoLabels(*twice[1:3]), twice[3], num_views=2
    )
    assert two_views.item() == approx(1.114286)
    half = image_confidence_cross_entropy(logits.bfloat16(), pseudo, valid)
    assert half.dtype == torch.float32


@pytest.mark.parametrize("released", [None, 4])
def test_weighted_images_without_a_valid_pixel(released):
    logits, pseudo, valid = weighted_case()
    for case in (
        (pseudo, torch.zeros_like(valid)),
        (pseudo._replace(label_NHW=pseudo[0] + 255), valid),
    ):
        loss = image_confidence_cross_entropy(logits, *case, released_batch=released)
        loss.backward()
        assert loss == 0 and (logits.grad == 0).all()
