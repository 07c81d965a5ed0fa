# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Label pasting: boxes and certainty, the two exchanges, and what methods make of it.

Known answers: docs/methods/augseg.md.
"""

from __future__ import annotations

import re

import pytest
import torch
from mmseg.registry import MODELS
from recorded import make_images, make_method, make_recorded, run_mixed, total

from mmsemi.errors import ConfigError
from mmsemi.models.forward import image_certainty, pseudo_labels
from mmsemi.models.losses import confident_cross_entropy
from mmsemi.models.views import LabelPaste, MixRecipe
from mmsemi.models.views.label_paste import label_paste_recipe, square_boxes
from mmsemi.structures import PseudoLabels, SemiBatch

# --- Certainty ------------------------------------------------------------------------------------


def test_certainty():
    """Known answer "confidence": pixel by pixel, and their mean."""
    maps = torch.tensor([[0.7, 0.2, 0.05, 0.05], [0.25] * 4, [1, 0, 0, 0], [0.5, 0.5, 0, 0]])
    logits = maps.log()  # -inf: a network of half precision may come near
    found = image_certainty(logits[:, :, None, None])
    assert found.tolist() == pytest.approx([0.2601271, 0, 1, 0.25], abs=1e-6)
    image = logits.T.reshape(1, 4, 2, 2)
    assert image_certainty(image).tolist() == pytest.approx([0.3775318], abs=1e-6)
    assert torch.equal(
        pseudo_labels(image, with_certainty=True).certainty_N, image_certainty(image)
    )
    assert pseudo_labels(image).certainty_N is None


def test_certainty_is_float32():
    logits = torch.randn(3, 5, 4, 4, generator=torch.Generator().manual_seed(0)).half()
    found = image_certainty(logits.requires_grad_())
    assert found.dtype == torch.float32 and not found.requires_grad
    torch.testing.assert_close(found, image_certainty(logits.float()))


# --- Boxes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("side", "lam", "centre", "box"),
    [
        (513, 0.8, (256, 256), (142, 142, 370, 370)),
        (513, 0.5, (64, 512), (0, 331, 245, 513)),
        (800, 0.8, (100, 799), (0, 621, 278, 800)),
        (513, 0.99, (300, 70), (275, 45, 325, 95)),
    ],
)
def test_boxes_equal_the_reference(side, lam, centre, box):
    boxes = square_boxes(lam, torch.tensor([centre] * 2), (side, side))
    assert boxes.tolist() == [list(box)] * 2


def test_boxes_of_oblong_images():
    """A quarter of the area has half of each side."""
    assert square_boxes(0.75, torch.tensor([[20, 40]]), (40, 80)).tolist() == [[10, 20, 30, 60]]


def draw(
    mix: LabelPaste,
    seed: int = 0,
    num: int = 4,
    num_labeled: int = 4,
    size_hw: tuple[int, int] = (32, 32),
    certainty: tuple[float, ...] = (0.5,) * 4,
    num_views: int = 1,
) -> tuple[list[MixRecipe], torch.Generator]:
    images, labeled = (make_images(torch.zeros(n, 3, *size_hw)) for n in (num, num_labeled))
    batch = SemiBatch(labeled, images, generator=torch.Generator().manual_seed(seed))
    label = torch.zeros(num, *size_hw)
    pseudo = PseudoLabels(label.long(), label, torch.tensor(certainty))
    return mix.draw(batch, num_views, pseudo, 3), batch.generator


@pytest.mark.parametrize(("beta", "area"), [((8, 2), 0.164), ((4, 4), 0.359)])
def test_mean_area_of_boxes_cut_at_the_border(beta, area):
    images, shares = make_images(torch.zeros(4, 3, 256, 256)), []
    mix, pseudo = LabelPaste(mix_beta=beta), PseudoLabels(None, None, torch.ones(4))
    for seed in range(400):
        batch = SemiBatch(images, images, generator=torch.Generator().manual_seed(seed))
        (recipe,) = mix.draw(batch, 1, pseudo)
        shares.append(recipe.pastes[0].mask_B1HW.float().mean((1, 2, 3)))
    shares = torch.stack(shares)
    assert shares.mean().item() == pytest.approx(area, abs=0.01)
    assert shares.std(1).mean() > 0.01, "centres differ in a batch"


# --- The two exchanges ----------------------------------------------------------------------------


def box_mask(*boxes: tuple[int, int, int, int]) -> torch.Tensor:
    mask = torch.zeros(len(boxes), 1, 4, 4, dtype=torch.bool)
    for plane, (top, bottom, left, right) in zip(mask[:, 0], boxes):
        plane[top:bottom, left:right] = True
    return mask


def test_two_exchanges():
    """Pixels, labels, confidences and valid masks; the 11 comes from image 0 and reaches 2 only."""
    recipe = label_paste_recipe(
        torch.tensor([1, 2, 0]),
        box_mask((0, 2, 0, 2), (2, 4, 2, 4), (1, 3, 1, 3)),
        box_mask((0, 2, 0, 4), (0, 4, 2, 4), (1, 4, 0, 2)),
        torch.tensor([True, False, True]),
        3,
    )
    want = torch.tensor(
        [
            [[1, 1, 1, 1], [1, 1, 1, 1], [0, 0, 0, 0], [0, 0, 0, 0]],
            [[1, 1, 2, 2], [1, 1, 10, 2], [1, 1, 10, 2], [1, 1, 2, 2]],
            [[2, 2, 2, 2], [11, 11, 2, 2], [0, 0, 2, 2], [0, 0, 2, 2]],
        ]
    )
    unlabeled, labeled = torch.arange(3), torch.arange(10, 13)
    maps = [x.view(3, 1, 1).repeat(1, 4, 4) for x in (unlabeled, labeled)]
    images = [make_images(x[:, None].repeat(1, 3, 1, 1).float(), x) for x in maps]
    mixed = recipe.apply(images[0].pixels_NCHW, labeled=images[1].pixels_NCHW)
    assert torch.equal(mixed, want[:, None].repeat(1, 3, 1, 1).float())

    pseudo = PseudoLabels(maps[0], torch.full((3, 4, 4), 0.5))
    images[0].valid_NHW[2, 0] = False  # row 0 of image 2, which image 1 shows in its box
    images[1].valid_NHW[1, 1, 0] = False  # under the first 11
    label, confidence, _ = recipe.apply_labels(pseudo, SemiBatch(images[1], images[0]))
    ignored = want.clone()
    ignored[1, 0, 2:] = ignored[2, 0] = ignored[2, 1, 0] = 255
    assert torch.equal(label, ignored)
    assert torch.equal(confidence, torch.where(want >= 10, 1, 0.5))


def test_unsure_images_get_labels():
    """Image i shows labelled pixels of its box if p(i) is unsure; a constant replaces certainty."""
    drawn = {
        name: draw(LabelPaste(paste_prob=prob), certainty=certainty)[0][0].pastes
        for name, prob, certainty in [
            ("never", 0, (0.5,) * 4),
            ("always", 1, (0.5,) * 4),
            ("sure", None, (1.0,) * 4),
            ("unsure", None, (0.0,) * 4),
            ("some", None, (1.0, 0.0, 1.0, 0.0)),
        ]
    }
    (mix_mask, second), (labeled_mask, _) = drawn["always"]
    assert labeled_mask.any() and not (labeled_mask & ~mix_mask).any()
    for name, pastes in drawn.items():
        assert torch.equal(pastes[0].mask_B1HW, mix_mask), name
        assert torch.equal(pastes[0].index_B, second), name
    for name, unsure in dict(
        never=[], sure=[], always=[0, 1, 2, 3], unsure=[0, 1, 2, 3], some=[1, 3]
    ).items():
        shown = torch.isin(second, torch.tensor(unsure, dtype=torch.long))
        want = labeled_mask & shown[:, None, None, None]
        assert torch.equal(drawn[name][1].mask_B1HW, want), name


def test_as_many_images_get_labels_as_they_are_unsure():
    """Of 16 boxes a draw; those that miss the other box do not show."""
    num, shares = 16, []
    always, unsure = (LabelPaste(paste_prob=prob) for prob in (1, 0.3))
    adaptive, certainty = LabelPaste(), (0.7,) * num
    for seed in range(40):
        shown = [
            draw(mix, seed, num, certainty=certainty)[0][0].pastes[1].mask_B1HW.flatten(1).any(1)
            for mix in (always, unsure, adaptive)
        ]
        assert torch.equal(shown[1], shown[2])
        shares.append(torch.stack(shown[:2]).sum(1))
    possible, found = torch.stack(shares).sum(0).tolist()
    assert found / possible == pytest.approx(0.3, abs=0.06)


@pytest.mark.parametrize(("num", "num_labeled"), [(5, 2), (2, 5), (4, 4)])
def test_labelled_images_are_taken_in_turn(num, num_labeled):
    """Image i gets labelled image p(i), second-hand p(p(i))."""
    for seed in range(5):
        ((recipe,), _) = draw(
            LabelPaste(paste_prob=1), seed, num, num_labeled, certainty=(0.5,) * num
        )
        assert recipe.uses_labeled and recipe.first.tolist() == list(range(num))
        second = recipe.pastes[0].index_B
        assert all(i != j for i, j in enumerate(second.tolist()))
        assert torch.equal(recipe.pastes[1].index_B, num + second[second] % num_labeled)


def test_views_share_the_pairs_and_not_the_boxes():
    (first, second), _ = draw(LabelPaste(), num_views=2)
    assert torch.equal(first.pastes[0].index_B, second.pastes[0].index_B)
    assert not torch.equal(first.pastes[0].mask_B1HW, second.pastes[0].mask_B1HW)


def test_the_number_of_draws_depends_on_the_batch_only():
    states = [
        draw(mix, 3, size_hw=size_hw)[1].get_state()
        for mix, size_hw in (
            (LabelPaste(), (32, 32)),
            (LabelPaste(paste_prob=0.0, paste_beta=(1, 1), mix_beta=(0.5, 9)), (16, 48)),
        )
    ]
    assert torch.equal(*states)


# --- In the methods -------------------------------------------------------------------------------

MIX = dict(type="LabelPaste", paste_prob=1)


def make_batch() -> SemiBatch:
    """Every other row of labelled images is ignored."""
    batch = make_recorded().batch
    batch.labeled.labels_NHW[:, ::2] = 255
    return batch


def check_labelled_pixels(batch, recipe, mixed, label) -> torch.Tensor:
    """The pixels in which labelled images are shown: theirs, with their label."""
    mask, index = recipe.pastes[1]
    labeled, mask = batch.labeled, mask[:, 0]
    assert mask.any()
    pixels, labels = (x[index - 4] for x in (labeled.pixels_NCHW, labeled.labels_NHW))
    assert torch.equal(mixed.movedim(1, -1)[mask], pixels.movedim(1, -1)[mask])
    assert torch.equal(label[mask], labels[mask])
    assert set(labels[mask].tolist()) == {0, 1, 2, 255}
    return mask


@pytest.mark.parametrize(
    "settings",
    [
        dict(type="FixMatch", num_views=2),
        dict(type="FixMatch", labels_from="student", labeled_forward="weak"),
        dict(type="UniMatch", num_views=2),
    ],
)
def test_true_labels_are_certain(segmentor_config, preprocessor_config, settings, monkeypatch):
    """In FixMatch and UniMatch; other pixels have pseudo-labels, padding none."""
    runner = make_method(segmentor_config, preprocessor_config, mix=MIX, **settings)
    model, batch, seen = runner.model, make_batch(), []
    module = f"mmsemi.models.segmentors.{settings['type'].lower()}"
    monkeypatch.setattr(
        f"{module}.confident_cross_entropy",
        lambda logits, target, *_, **__: seen.append(target) or logits.sum(),
    )
    views, mixed_views = [], model.mixed_views
    model.mixed_views = lambda *args: views.append(mixed_views(*args)) or views[0]
    losses, _ = run_mixed(runner, batch)
    ((mixed, recipe),) = views
    target = seen[0]
    mask = check_labelled_pixels(batch, recipe, mixed, target.label_NHW)
    assert (target.confidence_NHW[mask] == 1).all() and (target.confidence_NHW[~mask] < 1).any()
    pseudo = target.label_NHW[~mask]
    padding = ~recipe.apply(batch.unlabeled.valid_NHW, labeled=batch.labeled.valid_NHW)
    assert torch.equal(pseudo == 255, padding[~mask]) and padding[~mask].any()
    total(losses).backward()


def test_both_networks_of_cps_get_true_labels(segmentor_config, preprocessor_config, monkeypatch):
    runner = make_method(segmentor_config, preprocessor_config, type="CPS", mix=MIX)
    batch, seen, views = make_batch(), [], []
    mixed_views = runner.model.mixed_views
    runner.model.mixed_views = lambda *a, **k: views.append(mixed_views(*a, **k)) or views[0]
    monkeypatch.setattr(
        "mmsemi.models.segmentors.cps.cross_entropy",
        lambda logits, labels, ignore_index: seen.append(labels) or logits.sum(),
    )
    losses, _ = run_mixed(runner, batch)
    ((mixed, recipe),) = views
    first, second = seen
    for label in seen:
        mask = check_labelled_pixels(batch, recipe, mixed, label)
        assert (label[~mask] < 3).all()
    assert not torch.equal(first[~mask], second[~mask])
    total(losses).backward()


@pytest.mark.parametrize(
    ("threshold", "expected", "over_all"), [(0.95, 0.5500190, 0.4125142), (0, 0.6298673, 0.4724005)]
)
def test_loss_by_hand(threshold, expected, over_all):
    """As in FixMatch the divisor is the number of valid pixels, three of four here."""
    logits = torch.tensor([[[1.0, 0, 0], [0, 2, 0]], [[0, 0, 3], [1, 1, 1]]])
    label = torch.tensor([[[0, 1], [255, 2]]])
    pseudo = PseudoLabels(label, torch.tensor([[[0.96, 0.94], [1, 0.95]]]))
    loss = confident_cross_entropy(logits.permute(2, 0, 1)[None], pseudo, threshold)
    assert loss.item() == pytest.approx(expected, abs=1e-6)
    assert loss.item() * 3 / 4 == pytest.approx(over_all, abs=1e-6)


@pytest.mark.parametrize(
    "settings",
    [
        dict(type="FixMatch", threshold=0.4),
        dict(type="FixMatch", threshold=0.4, labels_from="student"),
        dict(type="UniMatch", threshold=0.4),
        dict(type="CPS"),
    ],
)
def test_a_step_by_certainty(segmentor_config, preprocessor_config, settings):
    """Without a constant: the step has the certainties, and a loss."""
    mix = dict(type="LabelPaste")
    runner = make_method(segmentor_config, preprocessor_config, mix=mix, **settings)
    asked, draw_recipes = [], runner.model.mix.draw
    runner.model.mix.draw = lambda *args: asked.append(args[2]) or draw_recipes(*args)
    losses, _ = run_mixed(runner, make_recorded().batch)
    (pseudo,) = asked
    assert pseudo.certainty_N.shape == (4,)
    assert (pseudo.certainty_N > 0).all() and (pseudo.certainty_N < 1).all()
    loss = sum(value for key, value in losses.items() if key.startswith("unsup.loss"))
    assert 0 < loss < torch.inf and loss.requires_grad


@pytest.mark.parametrize("kind", ["MeanTeacher", "CutMixMeanTeacher"])
def test_methods_that_compare_predictions_refuse_it(segmentor_config, preprocessor_config, kind):
    with pytest.raises(ConfigError, match=rf"{kind}\.mix=.*LabelPaste"):
        make_method(segmentor_config, preprocessor_config, type=kind, mix=dict(type="LabelPaste"))


@pytest.mark.parametrize(
    "arguments",
    [
        dict(pairing="halves"),
        dict(pairing="rotate"),
        dict(paste_prob=1.1),
        dict(paste_prob=-0.1),
        dict(paste_beta=(8,)),
        dict(mix_beta=(0, 4)),
    ],
)
def test_bad_arguments_are_refused(arguments):
    ((name, value),) = arguments.items()
    with pytest.raises(ConfigError, match=re.escape(f"LabelPaste: {name}={value!r}")):
        MODELS.build(dict(type="LabelPaste", **arguments))
