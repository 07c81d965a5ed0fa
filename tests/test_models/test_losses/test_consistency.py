# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Consistency losses against the known answers of the mean teachers' pages and plain formulas."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mmsemi.models.losses import CONSISTENCY_FORMS, confidence_weight, consistency_loss


def pixels(*logits: tuple[float, ...]) -> Tensor:
    """One image of one row, from the logits of its pixels."""
    return torch.tensor(logits).T[None, :, None].contiguous()


def two_pixels() -> tuple[Tensor, Tensor]:
    student = pixels((2, 0, -1), (0, 1, 0.5))
    return student.requires_grad_(), pixels((4, 0, -1), (0, 5, 0))


def random_logits() -> tuple[Tensor, Tensor]:
    random = np.random.RandomState(5)
    return tuple(torch.from_numpy(random.randn(2, 5, 3, 4).astype(np.float32)) for _ in range(2))


def approx(value: float):
    return pytest.approx(value, abs=1e-6)


def test_mean_teacher_s_loss():
    """docs/methods/mean_teacher.md#loss-by-hand."""
    student, teacher = two_pixels()
    loss = consistency_loss(student, teacher)
    assert loss.item() == approx(0.06352042)
    (gradient,) = torch.autograd.grad(100 * loss, student)
    assert gradient[0, :, 0, 0].tolist() == approx([-0.930172, 0.742345, 0.187827])
    assert consistency_loss(*random_logits()).item() == approx(0.05166157)


@pytest.mark.parametrize(
    ("threshold", "scalar", "per_pixel"), [(0.97, 0.19056126, None), (0.98, 0.09528063, 0.17661303)]
)
def test_loss_of_french_et_al(threshold, scalar, per_pixel):
    """docs/methods/cutmix_mean_teacher.md#loss-by-hand: both are confident at 0.97, one at 0.98."""
    student, teacher = two_pixels()

    def loss(mode, valid=None):
        confidence = confidence_weight(teacher, threshold, mode)
        return consistency_loss(student, teacher, "squared_distance", confidence, valid).item()

    assert loss("mean") == approx(scalar)
    assert loss("pixel") == approx(scalar if per_pixel is None else per_pixel)
    if threshold == 0.98:
        valid = torch.tensor([[[True, False]]])
        assert loss("mean", valid) == approx(0.00697411)
        assert loss("pixel", valid) == 0


def test_loss_of_french_et_al_on_random_logits():
    """docs/methods/cutmix_mean_teacher.md#loss-by-hand, random."""
    student, teacher = random_logits()
    share = confidence_weight(3 * teacher, 0.9)
    assert share.item() == 0.375
    pixel = confidence_weight(3 * teacher, 0.9, "pixel")
    assert pixel.shape == (2, 3, 4) and set(pixel.unique().tolist()) == {0, 1}
    for confidence, expected in ((share, 0.221856), (pixel, 0.307181)):
        loss = consistency_loss(student, 3 * teacher, "squared_distance", confidence)
        assert loss.item() == approx(expected)


def formulas(student: Tensor, teacher: Tensor) -> dict[str, Tensor]:
    """The forms of docs/methods/mean_teacher.md#losses, mean over pixels, in other words."""
    p, q, root = student.softmax(1), teacher.softmax(1), student.shape[1] ** 0.5
    num = student.shape[0] * student.shape[2] * student.shape[3]
    binary = F.binary_cross_entropy(p + 1e-6, q, reduction="sum")
    return dict(
        mse=F.mse_loss(p, q),
        squared_distance=F.mse_loss(p, q, reduction="sum") / num,
        kl=F.kl_div(student.log_softmax(1), q, reduction="sum") / num,
        bce=binary / num,
        logit_mse=F.mse_loss(student, teacher, reduction="sum") / num / root,
        logit_smooth_l1=F.smooth_l1_loss(student, teacher, reduction="sum") / num / root,
    )


@pytest.mark.parametrize("form", CONSISTENCY_FORMS)
def test_forms(form):
    student, teacher = random_logits()
    student, teacher = 2 * student, 2 * teacher
    want = formulas(student, teacher)[form]
    torch.testing.assert_close(consistency_loss(student, teacher, form), want, rtol=2e-5, atol=0)
    valid = torch.zeros(2, 3, 4, dtype=torch.bool)
    valid[0] = True  # half of the pixels: the divisor stays
    want = formulas(student[:1], teacher[:1])[form] / 2
    found = consistency_loss(student, teacher, form, valid_NHW=valid)
    torch.testing.assert_close(found, want, rtol=2e-5, atol=0)


@pytest.mark.parametrize("form", CONSISTENCY_FORMS)
def test_the_teacher_gets_no_gradient_and_nothing_valid_gives_zero_with_a_graph(form):
    student, teacher = (logits.requires_grad_() for logits in random_logits())
    consistency_loss(student, teacher, form).backward()
    assert teacher.grad is None and student.grad.abs().sum() > 0
    student.grad = None
    loss = consistency_loss(
        student, teacher, form, valid_NHW=torch.zeros(2, 3, 4, dtype=torch.bool)
    )
    assert loss == 0
    loss.backward()
    assert torch.equal(student.grad, torch.zeros_like(student))


@pytest.mark.parametrize("form", CONSISTENCY_FORMS)
def test_half_precision_is_computed_in_float32(form):
    student, teacher = (logits.bfloat16() for logits in random_logits())
    want = consistency_loss(student.float(), teacher.float(), form)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = consistency_loss(student, teacher, form)
        confidence = confidence_weight(teacher, 0.5, "pixel")
    assert found.dtype == torch.float32 and torch.equal(found, want)
    assert torch.equal(confidence, confidence_weight(teacher.float(), 0.5, "pixel"))


def test_a_confidence_equal_to_the_threshold_counts():
    """The comparison is >=; 0.25 is exact for four equal logits."""
    assert confidence_weight(torch.zeros(1, 4, 2, 2), 0.25) == 1
    assert confidence_weight(torch.zeros(1, 4, 2, 2), 0.2500001) == 0


def test_bad_arguments_are_refused():
    logits = torch.zeros(1, 3, 2, 2)
    with pytest.raises(ValueError, match="consistency form 'l2' is none of mse, squared_distance"):
        consistency_loss(logits, logits, "l2")
    with pytest.raises(ValueError, match=r"shapes \(1, 3, 2, 2\) and \(2, 3, 2, 2\)"):
        consistency_loss(logits, torch.zeros(2, 3, 2, 2))
