# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Image-level losses; known answers are those of docs/methods/mlmt.md."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from mmsemi.models.losses import cosine_consistency, late_linear_weight, multilabel_bce


def tensor(*rows):
    return torch.tensor(rows, dtype=torch.float64)


def test_classification_known_answer():
    """docs/methods/mlmt.md#classification-loss; mmpretrain's head gives C times as much."""
    loss = multilabel_bce(tensor((0, 2)), tensor((1, 0)))
    assert loss.item() == pytest.approx(1.4100376, abs=5e-8)
    from mmpretrain.models.heads import MultiLabelClsHead
    from mmpretrain.structures import DataSample

    sample = DataSample().set_gt_score(torch.tensor([1.0, 0.0]))
    theirs = MultiLabelClsHead().loss((torch.tensor([[0.0, 2.0]]),), [sample])["loss"]
    assert theirs.item() == pytest.approx(2 * 1.4100376, abs=1e-6)


def test_classification_is_the_mean_over_images_and_classes():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 5, generator=generator, dtype=torch.float64)
    target = torch.randint(0, 2, (3, 5), generator=generator).double()
    p = logits.sigmoid()
    want = -(target * p.log() + (1 - target) * (1 - p).log()).sum() / 15
    torch.testing.assert_close(multilabel_bce(logits, target), want)
    known = torch.tensor([True, False, True])
    left = multilabel_bce(logits[[0, 2]], target[[0, 2]])
    torch.testing.assert_close(multilabel_bce(logits, target, known), left)


def test_nothing_known_gives_zero_with_a_graph():
    logits = torch.randn(2, 3, requires_grad=True)
    loss = multilabel_bce(logits, torch.zeros(2, 3), torch.zeros(2, dtype=torch.bool))
    loss.backward()
    assert loss.item() == 0 and logits.grad.abs().max() == 0


def test_classification_does_not_saturate():
    logits = torch.tensor([[200.0, -200.0]], requires_grad=True)
    loss = multilabel_bce(logits, torch.tensor([[0.0, 1.0]]))
    loss.backward()
    assert loss.item() == pytest.approx(200) and logits.grad.tolist() == [[0.5, -0.5]]


def test_consistency_known_answers():
    """docs/methods/mlmt.md#consistency-and-its-weight; in a batch with an identical pair."""
    student, teacher = tensor((1, 1, 0)), tensor((1, 0, 1))
    assert cosine_consistency(student, teacher).item() == pytest.approx(0.5)
    both = cosine_consistency(torch.cat([student, teacher]), torch.cat([teacher, teacher]))
    assert both.item() == pytest.approx(0.25)


def test_consistency_trains_the_student_alone():
    student = torch.randn(2, 4, requires_grad=True)
    teacher = torch.randn(2, 4, requires_grad=True)
    cosine_consistency(student, teacher).backward()
    assert student.grad.abs().max() > 1e-3 and teacher.grad is None
    # The cosine does not see the length, so its gradient is orthogonal to the logits.
    assert (student.grad * student).sum(1).abs().max() < 1e-6


@pytest.mark.parametrize("zero", ["student", "teacher", "both"])
def test_vectors_of_zeros_are_safe(zero):
    student = torch.zeros(2, 3) if zero != "teacher" else torch.ones(2, 3)
    teacher = torch.zeros(2, 3) if zero != "student" else torch.ones(2, 3)
    student.requires_grad_()
    loss = cosine_consistency(student, teacher)
    loss.backward()
    assert loss.item() == 1 and student.grad.isfinite().all()


@pytest.mark.parametrize("loss", [cosine_consistency, multilabel_bce])
def test_half_precision_is_raised(loss):
    generator = torch.Generator().manual_seed(0)
    first, second = (torch.rand(4, 21, generator=generator).bfloat16() for _ in range(2))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = loss(first, second)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, loss(first.float(), second.float()))
    assert F.cosine_similarity(first, second, dim=1).dtype == torch.bfloat16, "nothing was raised"


def test_weight_known_answers():
    """The same page, and what stands around it: 11 epochs without, all of it from 60 on."""
    answers = {0: 0, 9: 0, 10: 0, 11: 0.02, 35: 0.5, 59: 0.98, 60: 1, 99: 1, 10_000: 1}
    for epoch, weight in answers.items():
        assert late_linear_weight(epoch) == pytest.approx(weight), epoch
    assert late_linear_weight(60, maximum=0.3) == 0.3
    assert late_linear_weight(0, epochs=4, start_epoch=-1) == 0.5
    assert math.isclose(late_linear_weight(30, epochs=50), 0.8)
