# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""The rules on typed numbers, at both sides of their thresholds, and what is reported when."""

from __future__ import annotations

import pytest

from mmsemi.engine.diagnosis import (
    Ledger,
    Shares,
    below_supervised,
    dominating_class,
    equal_teacher,
    everything_kept,
    memorised_labels,
    missing_classes,
    no_learning_rate,
    norm_gap,
    nothing_kept,
    rough_score,
)

CLASSES = ("background", "nucleus", "border")


def shares(labeled: list[float], kept: list[float], iterations: int = 10, patience: int = 10):
    made = Shares(patience)
    made.add(labeled, kept, iterations)
    return made


def test_counts_are_those_of_the_last_iterations():
    made = Shares(patience=10)
    assert not made.is_full
    made.add([1, 2, 0, 3], [9, 0, 0, 1], 6)
    assert not made.is_full
    made.add([1, 2, 0, 3], [0, 5, 0, 5], 6)
    assert made.is_full and made.iterations == 12 and made.labeled == [2, 4, 0, 6]
    assert made.kept == [9, 5, 0, 6] and made.kept_share() == pytest.approx(14 / 20)
    made.add([0, 0, 0, 0], [0, 0, 2, 8], 6)  # the first block is not needed any more
    assert made.kept == [0, 5, 2, 13] and made.iterations == 12
    made.add([2, 0, 0, 0], [0, 0, 0, 0], 0)  # no pseudo-label in these steps
    assert made.iterations == 12 and made.labeled == [4, 4, 0, 6]
    labeled, kept = made.class_shares()
    assert labeled == [0.5, 0.5, 0] and kept == pytest.approx([0, 5 / 7, 2 / 7])
    other = Shares(patience=10)
    other.load_state_dict(made.state_dict())
    assert other == made


def test_a_class_without_pseudo_labels():
    found = missing_classes(
        shares([80, 20, 0, 5], [1000, 0, 0, 50]), CLASSES, 1e-3, "lower model.threshold=0.95"
    )
    assert found.name == "class-never-labelled" and found.subjects == ("nucleus",)
    assert "20.00%" in found.text and "10 iterations" in found.text
    assert found.setting == "lower model.threshold=0.95"
    assert found.guide == "docs/diagnosis.md#class-never-labelled"
    # A stray pixel of 10,000 is as good as none, at a share of 1/1000 of that of the labels.
    assert missing_classes(shares([80, 20, 0, 5], [9999, 1, 0, 0]), CLASSES, 1e-3, "")
    assert missing_classes(shares([80, 20, 0, 5], [9997, 3, 0, 0]), CLASSES, 1e-3, "") is None
    # No label has the third class; too few iterations; nothing kept at all, another rule's matter.
    assert missing_classes(shares([80, 20, 0, 5], [90, 9, 0, 0]), CLASSES, 1e-3, "") is None
    assert missing_classes(shares([80, 20, 0, 5], [90, 0, 0, 0], 9), CLASSES, 1e-3, "") is None
    assert missing_classes(shares([80, 20, 0, 5], [0, 0, 0, 99]), CLASSES, 1e-3, "") is None


def test_one_class():
    found = dominating_class(shares([80, 20, 0, 0], [96, 4, 0, 50]), CLASSES, 0.95, 1 / 3, "x")
    assert found.name == "one-class" and found.subjects == ("background",)
    assert "96.0%" in found.text and "80.0%" in found.text
    for labeled, kept in (
        ([80, 20, 0, 0], [95, 5, 0, 0]),  # not above 95 %
        ([90, 10, 0, 0], [96, 4, 0, 0]),  # 4 % of the others, more than a third of the labels' 10 %
        ([80, 20, 0, 0], [0, 0, 0, 9]),
    ):
        assert dominating_class(shares(labeled, kept), CLASSES, 0.95, 1 / 3, "") is None
    assert dominating_class(shares([90, 10, 0, 0], [97, 3, 0, 0]), CLASSES, 0.95, 1 / 3, "")


def test_nothing_and_everything():
    assert nothing_kept(shares([1, 1, 0], [1, 0, 999]), 1e-3, "x").name == "nothing-kept"
    assert nothing_kept(shares([1, 1, 0], [2, 0, 998]), 1e-3, "x") is None
    assert everything_kept(shares([1, 1, 0], [900, 99, 1]), 0.999, "x").name == "everything-kept"
    assert everything_kept(shares([1, 1, 0], [900, 98, 2]), 0.999, "x") is None
    for rule in (nothing_kept, everything_kept):
        assert rule(shares([1, 1, 0], [0, 0, 9], iterations=9), 0.5, "x") is None


def test_rates_teacher_loss_norms_and_score():
    assert no_learning_rate({"": [0.0, 0.0]}).subjects == ("",)
    assert no_learning_rate({"": [0.0, 1e-9]}) is None
    found = no_learning_rate({"segmentor": [0.1], "discriminator": [0.0]})
    assert found.subjects == ("discriminator",) and "'discriminator'" in found.text
    assert equal_teacher(False, "x") is None
    assert equal_teacher(True, "x").name == "teacher-equals-student"
    assert memorised_labels([9.0, 1e-3, 1e-3], 2, 2e-3, "x").name == "labelled-loss-zero"
    assert memorised_labels([9.0, 1e-3, 1e-3], 3, 2e-3, "x") is None
    assert memorised_labels([0.0], 2, 2e-3, "x") is None
    found = norm_gap("student", 85.0, 50.0, 11.0, 10.0, "x")
    assert found.name == "batch-norm-gap" and "85.0" in found.text and "50.0" in found.text
    for scores in ((60.0, 50.0, 11.0), (85.0, 50.0, 10.0), (85.0, 50.0, None)):
        assert norm_gap("student", *scores, 10.0, "x") is None
    assert below_supervised(70.0, 71.5, 1.0, "x").name == "below-supervised"
    assert below_supervised(70.5, 71.5, 1.0, "x") is None
    few = below_supervised(70.0, 71.5, 1.0, "x", images=6).text
    assert few.endswith("do harm, by 6 validation images, which is a rough score")
    assert below_supervised(70.0, 71.5, 1.0, "x", images=10).text.endswith("do harm")
    assert rough_score(1) == ", by 1 validation image, which is a rough score"
    assert rough_score(None) == ""


def test_a_finding_is_reported_once_and_again_when_it_comes_back():
    ledger, rule = Ledger(), "class-never-labelled"
    bad = missing_classes(shares([80, 20, 9, 5], [99, 0, 9, 50]), CLASSES, 1e-3, "x")
    worse = missing_classes(shares([80, 20, 9, 5], [99, 0, 0, 50]), CLASSES, 1e-3, "x")
    assert ledger.update(10, rule, bad)
    assert not ledger.update(20, rule, bad)
    assert ledger.update(30, rule, worse), "another class"
    assert not ledger.update(40, rule, bad), "one of them recovered"
    assert not ledger.update(50, rule, None)
    assert not ledger.update(60, rule, None)
    again = Ledger()
    again.load_state_dict(ledger.state_dict())
    for one in (ledger, again):
        assert one.update(70, rule, bad)
        spans = [(report["step"], report["gone"]) for report in one.reports]
        assert spans == [(10, 30), (30, 50), (70, None)]
        lines = one.summary()
        assert len(lines) == 3 and lines[0].startswith("since iteration 70")
        assert "iterations 10 to 30" in lines[1]
