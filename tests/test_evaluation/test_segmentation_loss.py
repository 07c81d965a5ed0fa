# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""The validation loss against numbers by hand."""

from __future__ import annotations

import pytest
import torch

from mmsemi.errors import ConfigError, DataError
from mmsemi.evaluation import SegmentationLoss

META = dict(classes=("background", "cat", "dog"))


def evaluate(samples: list[dict], **settings) -> dict:
    metric = SegmentationLoss(**settings)
    metric.dataset_meta = META
    for sample in samples:
        metric.process({}, [sample])
    return metric.evaluate(len(samples))


def test_it_is_the_mean_over_the_labelled_pixels_of_the_set(make_sample) -> None:
    """docs/methods/advsemiseg.md#losses-by-hand (0.2395448, 1.5514447), and a larger image."""
    logits = torch.tensor([[2.0, 0, 0], [0, 1, 0], [7, 7, 8]]).T[:, None]
    first = make_sample(logits, torch.tensor([[0, 2, 255]]))
    assert evaluate([first]) == {"val_loss": pytest.approx(0.8954948, abs=1e-6)}
    # Four pixels of equal logits: ln 3 each. Not the mean of the images' means.
    second = make_sample(torch.zeros(3, 2, 2), torch.ones(2, 2, dtype=torch.long))
    expected = (2 * 0.8954948 + 4 * 1.0986123) / 6
    assert evaluate([first, second])["val_loss"] == pytest.approx(expected, abs=1e-6)


def test_half_precision_logits_count_in_full_precision(make_sample) -> None:
    logits = torch.randn(3, 40, 40, generator=torch.Generator().manual_seed(0)).bfloat16()
    labels = torch.ones(40, 40, dtype=torch.long)
    expected = torch.nn.functional.cross_entropy(logits.double()[None], labels[None]).item()
    assert evaluate([make_sample(logits, labels)])["val_loss"] == pytest.approx(expected, rel=1e-6)


def test_another_ignore_index_and_prefix(make_sample) -> None:
    sample = make_sample(torch.zeros(3, 1, 2), torch.tensor([[0, 1]]))
    metrics = evaluate([sample], ignore_index=0, prefix="x")
    assert metrics == {"x/val_loss": pytest.approx(1.0986123)}


@pytest.mark.parametrize(
    "labels, kind, culprit",
    [
        (torch.tensor([[0, 3]]), DataError, "'a.png' .* 3"),
        (torch.tensor([[0], [1]]), ConfigError, r"'a.png' .*\(2, 1\)"),
        (torch.tensor([[255, 255]]), DataError, "val_loss"),
    ],
)
def test_labels_that_do_not_fit_are_named(make_sample, labels, kind, culprit) -> None:
    with pytest.raises(kind, match=culprit):
        evaluate([make_sample(torch.zeros(3, 1, 2), labels)])
