# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""ClassMix: which classes are pasted, and in every method the masks of the labels that it has.

Known answers: docs/methods/classmix.md.
"""

from __future__ import annotations

import copy

import pytest
import torch
from method_tester import MethodTester
from recorded import (
    NUM_CLASSES,
    Recorded,
    assert_same_step,
    make_images,
    make_method,
    make_recorded,
    run_mixed,
    total,
)
from reference.cps import cps_step
from watchers import Waits

from mmsemi.errors import ConfigError
from mmsemi.models.forward import forward
from mmsemi.models.losses import confident_cross_entropy
from mmsemi.models.views import ClassMix, MixRecipe, Paste
from mmsemi.models.views.classmix import choose_classes
from mmsemi.structures import PseudoLabels, SemiBatch


class TestFixMatchClassMix(MethodTester):
    name = "classmix"
    model = dict(
        type="FixMatch",
        strong=dict(type="StrongPhotometric"),
        mix=dict(type="ClassMix"),
        threshold=0.4,
        labeled_forward="strong",
    )
    networks = ["student", "teacher"]
    predict_on = "teacher"
    unsup_losses = ("unsup.loss_strong",)
    views_alone = dict(labeled_forward="alone")

    def test_a_step_never_waits_for_the_device(self):
        """Nor does the draw, which other mixes make on the CPU."""
        runner = self.step_runner()
        data = runner.model.data_preprocessor(self.batches(1)[0], training=True)
        with Waits() as waits:
            total(runner.model(**data, mode="loss")).backward()
        assert not waits.found


# --- Choice of classes ----------------------------------------------------------------------------

LABELS = torch.tensor([[[0, 0, 3], [1, 4, 3]], [[2, 2, 2], [2, 2, 2]], [[1, 1, 4], [1, 4, 4]]])
VALID = torch.ones(3, 2, 3, dtype=torch.bool)
VALID[0, 0, 2] = VALID[2, 1, 0] = False
SCORES = torch.tensor(
    [[0.3, 0.9, 0.8, 0.1, 0.6], [0.2, 0.4, 0.5, 0.7, 0.1], [0.5, 0.2, 0.9, 0.8, 0.1]]
)


def chosen(label, valid, scores, min_classes=1) -> list[list[int]]:
    rows = choose_classes(label, valid, scores, min_classes)
    return [row.nonzero().flatten().tolist() for row in rows]


def draw_masks(mix, label, valid, draws: torch.Generator, second=None) -> torch.Tensor:
    images = make_images(torch.zeros(len(label), 3, *label.shape[1:]), valid=valid)
    second = torch.arange(len(label)) if second is None else second
    batch = SemiBatch(images, images, generator=draws)
    return mix.draw_masks(second, batch, PseudoLabels(label, label.float()), 5)


def test_choice_of_classes():
    """Of those that are there, on valid pixels; class 2 of the first map has a large score."""
    assert chosen(LABELS, VALID, SCORES) == [[1, 4], [2], [1]]
    everywhere = torch.ones_like(VALID)
    assert chosen(LABELS, everywhere, SCORES, min_classes=0) == [[1, 4], [], [1]]


@pytest.mark.parametrize(
    ("min_classes", "expected"), [(1, (1, 1, 1, 2, 2, 9, 10)), (0, (0, 1, 1, 2, 2, 9, 10))]
)
def test_number_of_chosen_classes(min_classes, expected):
    generator = torch.Generator().manual_seed(0)
    for num, want in zip((1, 2, 3, 4, 5, 19, 21), expected, strict=True):
        label = (torch.arange(2 * 30) % num + 2).view(1, 5, 12)  # classes 2..num+1 of 25
        scores = torch.rand(1, 25, generator=generator)
        (classes,) = chosen(label, torch.ones_like(label).bool(), scores, min_classes)
        best = scores[0, 2 : num + 2].argsort(descending=True)[:want] + 2
        assert classes == sorted(best.tolist())


MASKS = torch.tensor([[[0, 0, 0], [1, 1, 0]], [[1, 1, 1], [1, 1, 1]], [[1, 1, 0], [0, 0, 0]]])


def test_masks_follow_the_outline_of_the_chosen_classes(monkeypatch):
    monkeypatch.setattr(torch, "rand", lambda *size, generator: SCORES)
    masks = draw_masks(ClassMix(), LABELS, VALID, torch.Generator())
    assert torch.equal(masks, MASKS.bool()[:, None])


def test_mixed_maps():
    """Each map into the next."""
    recipe = MixRecipe(
        torch.arange(3), [Paste(MASKS.bool()[[2, 0, 1], None], torch.tensor([2, 0, 1]))]
    )
    pseudo = PseudoLabels(LABELS, LABELS / 8)
    images = make_images(torch.zeros(3, 3, 2, 3), valid=VALID)
    label, confidence, _ = recipe.apply_labels(pseudo, SemiBatch(images, images), ignore_index=99)
    # Of image i - 1 into image i; only one of the two invalid pixels is still to be seen.
    want = torch.tensor([[[1, 1, 99], [1, 4, 3]], [[2, 2, 2], [1, 4, 2]], [[2, 2, 2], [2, 2, 2]]])
    assert torch.equal(label, want)
    assert torch.equal(confidence, torch.where(want == 99, 3, want) / 8)


def test_with_nothing_valid_nothing_is_pasted():
    nothing = torch.zeros_like(VALID)
    assert chosen(LABELS, nothing, SCORES) == [[], [], []]
    assert not draw_masks(ClassMix(), LABELS, nothing, torch.Generator()).any()


def by_hand(label, valid, scores, min_classes=1) -> torch.Tensor:
    """Masks (N, 1, H, W), map by map."""
    masks = torch.zeros_like(valid)
    for mask, own, counts, score in zip(masks, label, valid, scores.tolist()):
        present = own[counts].unique().tolist()
        number = min(len(present), max(min_classes, len(present) // 2))
        for name in sorted(present, key=lambda c: score[c], reverse=True)[:number]:
            mask |= counts & (own == name)
    return masks[:, None]


@pytest.mark.parametrize("min_classes", [0, 1])
def test_drawn_masks_are_those_of_the_pasted_images(min_classes):
    """And the number of draws depends on the batch only."""
    generator = torch.Generator().manual_seed(0)
    mix, seen = ClassMix(min_classes=min_classes), set()
    for seed in range(20):
        label = torch.randint(0, 1 + seed % 5, (6, 4, 5), generator=generator)
        valid = torch.rand(6, 4, 5, generator=generator) < 0.3
        second = torch.randperm(6, generator=generator)
        used, expected = (torch.Generator().manual_seed(seed) for _ in range(2))
        masks = draw_masks(mix, label, valid, used, second)
        scores = torch.rand(6, 5, generator=expected)
        assert torch.equal(masks, by_hand(label[second], valid[second], scores, min_classes))
        assert torch.equal(used.get_state(), expected.get_state())
        seen.add(masks.any().item())
    assert seen == ({False, True} if min_classes == 0 else {True})


@pytest.mark.parametrize("min_classes", [-1, 2])
def test_bad_arguments_are_refused(min_classes):
    with pytest.raises(ConfigError, match=f"ClassMix: min_classes={min_classes}"):
        ClassMix(min_classes=min_classes)


@pytest.mark.parametrize(
    ("threshold", "by_share", "expected"),
    [
        (0.968, False, 0.5546836),
        (0, False, 1.0169116),
        (0, True, 1.0169116),
        (0.968, True, 0.5084558),
    ],
)
def test_loss_of_the_confident_pixels(threshold, by_share, expected):
    """Known answer "loss of the paper's method": pixels that count, and pixels weighted by their share."""
    confidence = torch.tensor(
        [[[0.99, 0.967, 0.97], [0.5, 0.9679, 0.999]], [[0.97, 0.4, 0.2], [0.98, 0.95, 0.969]]]
    )
    label = torch.tensor([[[0, 1, 1], [0, 0, 2]], [[0, 0, 1], [1, 2, 0]]])
    logits = torch.tensor([2.0, 0, 0]).view(1, 3, 1, 1).repeat(2, 1, 2, 3)
    logits[0, 1, 0] = 3
    pseudo = PseudoLabels(label, confidence)
    loss = confident_cross_entropy(logits, pseudo, threshold, by_share=by_share)
    assert loss.item() == pytest.approx(expected, abs=1e-6)
    # As two views, each with a share of its own: 3 of 6 pixels both.
    views = confident_cross_entropy(logits, pseudo, threshold, num_views=2, by_share=by_share)
    assert views.item() == pytest.approx(expected, abs=1e-6)


def test_the_share_counts_valid_pixels_alone():
    logits = torch.randn(2, 3, 2, 2, requires_grad=True)
    label = torch.tensor([[[0, 255], [1, 2]], [[255, 255], [255, 255]]])
    confidence = torch.tensor([[[0.9, 0.99], [0.5, 0.8]], [[0.99, 0.99], [0.99, 0.99]]])
    pseudo = PseudoLabels(label, confidence)
    loss = confident_cross_entropy(logits, pseudo, 0.7, by_share=True)
    own = torch.nn.functional.cross_entropy(logits, label, ignore_index=255)
    assert loss.item() == pytest.approx(2 / 3 * own.item(), rel=1e-6)
    # An image without a valid pixel is a view of loss 0.
    views = confident_cross_entropy(logits, pseudo, 0.7, num_views=2, by_share=True)
    assert views.item() == pytest.approx(loss.item() / 2, rel=1e-6)
    nothing = PseudoLabels(torch.full_like(label, 255), confidence)
    zero = confident_cross_entropy(logits, nothing, 0.7, by_share=True)
    zero.backward()
    assert zero == 0 and not logits.grad.any()


# --- In the methods -------------------------------------------------------------------------------


def teacher_labels(model, weak):
    return forward(model.teacher.module, weak).logits_NCHW.argmax(1)


def student_labels(model, weak):
    """As images that are pasted: in eval mode."""
    logits = forward(model.student.eval(), weak).logits_NCHW
    model.student.train()
    return logits.argmax(1)


def mean_labels(model, weak):
    """Of the mean of both networks' probabilities; either network alone labels otherwise."""
    maps = [forward(net, weak).logits_NCHW.softmax(1) for net in model.branches]
    mean = (maps[0] + maps[1]).argmax(1)
    assert not any(torch.equal(mean, one.argmax(1)) for one in maps)
    return mean


@pytest.mark.parametrize(
    ("settings", "pairing", "labels"),
    [
        (dict(type="FixMatch", threshold=0.45, num_views=2), "permute", teacher_labels),
        (dict(type="FixMatch", threshold=0.45), "halves", teacher_labels),
        (dict(type="FixMatch", threshold=0.45, labels_from="student"), "permute", student_labels),
        (dict(type="FixMatch", threshold=0.45, labels_from="student"), "halves", student_labels),
        (dict(type="UniMatch", threshold=0.45), "permute", student_labels),
        (dict(type="MeanTeacher", ema_when="after"), "reverse", teacher_labels),
        (dict(type="CutMixMeanTeacher", confidence_threshold=0.4), "permute", teacher_labels),
        (dict(type="CPS"), "permute", mean_labels),
    ],
)
def test_masks_are_those_of_the_method_s_labels(
    segmentor_config, preprocessor_config, settings, pairing, labels
):
    mix = dict(type="ClassMix", pairing=pairing)
    runner = make_method(segmentor_config, preprocessor_config, mix=mix, **settings)
    model, batch = runner.model, make_recorded().batch
    images, draws = batch.unlabeled, torch.Generator().manual_seed(7)
    label = labels(model, images.pixels_NCHW)
    losses, recipes = run_mixed(runner, batch)
    loss = sum(value for key, value in losses.items() if key.startswith("unsup.loss"))
    assert 0 < loss < torch.inf and loss.requires_grad

    second = model.mix.pair(images.paths, draws)[1]
    assert len(recipes) == getattr(model.settings, "num_views", 1)
    for recipe in recipes:
        ((mask, index),) = recipe.pastes
        scores = torch.rand(len(second), NUM_CLASSES, generator=draws)
        assert torch.equal(index, second)
        assert torch.equal(mask, by_hand(label[second], images.valid_NHW[second], scores))
        assert mask.any() and not mask.all()


def test_the_step_of_cps_with_that_mask_is_the_reference_step(
    segmentor_config, preprocessor_config
):
    """Both networks see one mixed image, and each gets the other's mixed labels."""
    mix = dict(type="ClassMix", pairing="halves")
    runner = make_method(segmentor_config, preprocessor_config, type="CPS", mix=mix)
    reference, batch = copy.deepcopy(runner.model), make_recorded().batch
    losses, recipes = run_mixed(runner, batch)
    recorded = Recorded(batch, [batch.unlabeled.pixels_NCHW], recipes)
    expected = recorded.reference(cps_step, reference.branches, settings=reference.settings)
    torch.testing.assert_close(losses["unsup.loss_cps"].double(), expected["unsup.loss_cps"])
    total(losses).backward()
    sum(expected.values()).backward()
    assert_same_step(runner.model, reference)
