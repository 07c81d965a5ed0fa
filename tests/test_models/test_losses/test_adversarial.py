# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Known answers, gradients, ignored pixels and types of the losses with a discriminator.

The numbers are those of docs/methods/advsemiseg.md#losses-by-hand and docs/methods/s4gan.md#losses-by-hand.
"""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mmsemi.models.losses import (
    cross_entropy,
    feature_matching_loss,
    masked_bce_with_logits,
    one_hot_maps,
    rescale_batch,
    selected_image_labels,
    trusted_labels,
)


def row(*values: float) -> Tensor:
    """Discriminator logits of one image, (1, 1, 1, W)."""
    return torch.tensor(values, dtype=torch.float32).view(1, 1, 1, -1)


def pixels(*logits: tuple[float, ...]) -> Tensor:
    """Segmentation logits of one image from its pixels' class logits, (1, C, 1, W)."""
    return torch.tensor(logits, dtype=torch.float32).t()[None, :, None, :].contiguous()


def approx(value: float):
    return pytest.approx(value, abs=1e-6)


def trusted_case() -> tuple[Tensor, Tensor]:
    confidence = row(-1.38, -1.40, 0, 2)
    return pixels((1, 0), (0, 3), (2, 0), (0, 0.5)).requires_grad_(), confidence


# --- AdvSemiSeg -----------------------------------------------------------------------------------


def test_advsemiseg_supervised_loss():
    logits = pixels((2, 0, 0), (0, 1, 0), (7, 8, 9))
    assert cross_entropy(logits, torch.tensor([[[0, 2, 255]]])).item() == approx(0.8954948)


def test_advsemiseg_bce_with_ignored_pixels():
    logits, valid = row(0, 2, -1), torch.tensor([[[True, True, False]]])
    assert masked_bce_with_logits(logits, True, valid).item() == approx(0.4100376)
    assert masked_bce_with_logits(logits, False, valid).item() == approx(1.4100376)
    same = masked_bce_with_logits(logits, True, valid[:, None])
    assert same.item() == approx(0.4100376)


def test_advsemiseg_discriminator_loss_is_one_mean_over_all_fakes():
    fakes = torch.cat([row(1, -2), row(0, 0)])
    real = masked_bce_with_logits(row(3), True)
    assert real.item() == approx(0.0485874)
    everything = masked_bce_with_logits(fakes, False)
    assert everything.item() == approx(0.7066210)
    assert (0.5 * everything + 0.5 * real).item() == approx(0.3776042)
    valid = torch.tensor([[[True, False]], [[True, True]]])
    masked = masked_bce_with_logits(fakes, False, valid)
    assert masked.item() == approx(0.8998520)
    assert (0.5 * masked + 0.5 * real).item() == approx(0.4742197)


def test_advsemiseg_trusted_pixels():
    logits, confidence = trusted_case()
    labels = trusted_labels(logits, confidence, 0.2)
    assert labels.tolist() == [[[0, 255, 0, 1]]]
    loss = cross_entropy(logits, labels)
    assert loss.item() == approx(0.3047556)
    loss.backward()
    assert torch.equal(logits.grad[0, :, 0].abs().sum(0) > 0, torch.tensor([1, 0, 1, 1]).bool())
    assert masked_bce_with_logits(confidence, True).item() == approx(1.0112245)


def test_advsemiseg_total():
    supervised = cross_entropy(
        pixels((2, 0, 0), (0, 1, 0), (7, 8, 9)), torch.tensor([[[0, 2, 255]]])
    )
    adversarial = masked_bce_with_logits(row(0, 2, -1), True, torch.tensor([[[True, True, False]]]))
    logits, confidence = trusted_case()
    semi = cross_entropy(logits, trusted_labels(logits, confidence, 0.2))
    unlabeled = masked_bce_with_logits(confidence, True)
    total = supervised + 0.01 * adversarial + 0.1 * semi + 0.001 * unlabeled
    assert total.item() == approx(0.9310819)


def test_the_trust_threshold_has_its_limits():
    logits = pixels((1, 0), (0, 1))
    certain, hopeless = row(1e4, 50), row(-1e4, -50)
    assert trusted_labels(logits, hopeless, 0.0).tolist() == [[[0, 1]]]
    assert trusted_labels(logits, certain, 1.0).tolist() == [[[255, 255]]]
    assert trusted_labels(logits, certain, 0.2, ignore_index=9).tolist() == [[[0, 1]]]
    assert trusted_labels(logits, hopeless, 0.2, ignore_index=9).tolist() == [[[9, 9]]]
    equal = row(math.log(0.25), 0)  # sigmoid(0) = 0.5 exactly: trusted
    assert trusted_labels(logits, equal, 0.5).tolist() == [[[255, 1]]]
    padding = torch.tensor([[[True, False]]])
    assert trusted_labels(logits, certain, 0.2, valid_NHW=padding).tolist() == [[[0, 255]]]
    for threshold in (-0.1, 1.5):
        with pytest.raises(ValueError, match=f"threshold={threshold} is not a probability"):
            trusted_labels(logits, certain, threshold)
        with pytest.raises(ValueError, match=f"threshold={threshold} is not a probability"):
            selected_image_labels(logits, torch.zeros(1, 1), threshold)
    with pytest.raises(ValueError, match="resize them"):
        trusted_labels(logits, torch.zeros(1, 1, 1, 1))


def test_gradient_of_the_masked_bce():
    x = row(0.5, -1, 2).double().requires_grad_()
    valid = torch.tensor([[[True, False, True]]])
    masked_bce_with_logits(x, False, valid).backward()
    expected = x.detach().sigmoid() * valid[:, None] / 2
    torch.testing.assert_close(x.grad, expected)
    for is_real in (True, False):
        ours = masked_bce_with_logits(x, is_real)
        stock = F.binary_cross_entropy_with_logits(x, torch.full_like(x, float(is_real)))
        torch.testing.assert_close(ours, stock)


@pytest.mark.parametrize("is_real", [True, False])
def test_nothing_valid_gives_zero_with_a_graph(is_real):
    x = row(3, -4).requires_grad_()
    loss = masked_bce_with_logits(x, is_real, torch.zeros(1, 1, 2, dtype=torch.bool))
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(x.grad, torch.zeros_like(x))
    logits = pixels((1, 0), (0, 1)).requires_grad_()
    loss = cross_entropy(logits, trusted_labels(logits, row(-9, -9)))
    loss.backward()
    assert loss.item() == 0 and torch.equal(logits.grad, torch.zeros_like(logits))


def test_a_mask_that_would_broadcast_is_refused():
    with pytest.raises(ValueError, match=r"\(3, 1, 2, 2\)"):
        masked_bce_with_logits(torch.zeros(3, 1, 2, 2), True, torch.ones(2, 2, dtype=torch.bool))
    with pytest.raises(ValueError, match="does not fit"):
        masked_bce_with_logits(torch.zeros(2, 3, 2, 2), True, torch.ones(2, 2, 2).bool())


# --- s4GAN ----------------------------------------------------------------------------------------


def test_s4gan_feature_matching_compares_batch_means():
    real = torch.tensor([[1.0, 2], [3, 4]], requires_grad=True)
    fake = torch.tensor([[0.0, 1], [1, 5]], requires_grad=True)
    loss = feature_matching_loss(real, fake)
    assert loss.item() == approx(0.75)
    loss.backward()
    assert real.grad is None
    # sign(mean fake - mean real) = (-1, 0), over K = 2 features and N = 2 images
    assert torch.equal(fake.grad, torch.tensor([[-0.25, 0.0], [-0.25, 0.0]]))
    assert feature_matching_loss(real, fake[:1]).item() == approx((2 + 2) / 2)


def test_s4gan_discriminator_loss():
    fake = masked_bce_with_logits(torch.tensor([[-0.8472979], [0.4054651]]), False)
    real = masked_bce_with_logits(torch.tensor([[1.3862944]]), True)
    assert fake.item() == approx(0.6364828) and real.item() == approx(0.2231436)
    assert (0.5 * (fake + real)).item() == approx(0.4298132)


def selection_case() -> tuple[Tensor, Tensor]:
    images = [pixels((2, 0), (0, 1)), pixels((0, 5), (5, 0)), pixels((1, 0), (0, 1))]
    scores = torch.tensor([0.61, 0.60, 0.30], dtype=torch.float64).logit().float()
    scores[1] = math.log(0.6 / 0.4)  # exactly the threshold, in float32
    return torch.cat(images).requires_grad_(), scores[:, None]


def test_s4gan_selected_images():
    logits, scores = selection_case()
    labels, selected = selected_image_labels(logits, scores, 0.6)
    assert selected.tolist() == [True, False, False]
    assert labels[:, 0].tolist() == [[0, 1], [255, 255], [255, 255]]
    loss = cross_entropy(logits, labels)
    assert loss.item() == approx(0.2200948)
    loss.backward()
    assert (logits.grad.abs().amax((1, 2, 3)) > 0).tolist() == [True, False, False]
    labels, selected = selected_image_labels(logits, scores, 0.99)
    assert not selected.any()
    assert cross_entropy(logits, labels).item() == 0
    padding = torch.tensor([[[True, False]]]).expand(3, 1, 2)
    labels, _ = selected_image_labels(logits, scores, 0.6, valid_NHW=padding)
    assert labels[0].tolist() == [[0, 255]]


def test_s4gan_total():
    logits, scores = selection_case()
    labels, _ = selected_image_labels(logits, scores, 0.6)
    matching = feature_matching_loss(
        torch.tensor([[1.0, 2], [3, 4]]), torch.tensor([[0.0, 1], [1, 5]])
    )
    assert (0.9 + 0.1 * matching + cross_entropy(logits, labels)).item() == approx(1.1950948)


def test_s4gan_rescaling_uses_the_batchs_own_range():
    batch = torch.tensor([[-100.0, 0], [150, 150]])
    torch.testing.assert_close(rescale_batch(batch), torch.tensor([[0, 0.4], [1, 1]]))
    assert torch.equal(rescale_batch(torch.full((2, 3), 7.0)), torch.zeros(2, 3))
    assert not rescale_batch(batch.requires_grad_()).requires_grad


# --- Maps and number types ------------------------------------------------------------------------


def test_one_hot_maps_are_zero_where_ignored():
    labels = torch.tensor([[[0, 2, 255]], [[1, 1, 0]]], dtype=torch.uint8)
    maps = one_hot_maps(labels, 3)
    assert maps.shape == (2, 3, 1, 3) and maps.dtype == torch.float32
    assert maps[0, :, 0].t().tolist() == [[1, 0, 0], [0, 0, 1], [0, 0, 0]]
    assert torch.equal(maps[1].argmax(0), labels[1].long())
    # Another ignored label, also one that would be a class; a value that is no class at all.
    assert one_hot_maps(labels, 3, ignore_index=0)[1, :, 0].t().tolist()[2] == [0, 0, 0]
    assert one_hot_maps(torch.tensor([[[-1, 7]]]), 3).sum() == 0


def test_half_precision_is_raised_to_float32():
    x = row(0.1, -0.2, 8).bfloat16()
    exact = x.float()
    for is_real in (True, False):
        loss = masked_bce_with_logits(x, is_real)
        assert loss.dtype == torch.float32
        assert torch.equal(loss, masked_bce_with_logits(exact, is_real))
    features = torch.randn(3, 8).bfloat16()
    loss = feature_matching_loss(features, features[:1])
    assert loss.dtype == torch.float32
    assert torch.equal(loss, feature_matching_loss(features.float(), features[:1].float()))
    assert rescale_batch(features).dtype == torch.float32
    logits = pixels((1, 0), (0, 1), (3, 1))
    assert torch.equal(trusted_labels(logits.bfloat16(), x), trusted_labels(logits, exact))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert masked_bce_with_logits(x, True).dtype == torch.float32
