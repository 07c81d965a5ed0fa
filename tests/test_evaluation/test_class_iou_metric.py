# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""IoU of each class and what an evaluation keeps beside it, against plain computations."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from mmseg.evaluation import IoUMetric

from mmsemi.errors import ConfigError, DataError
from mmsemi.evaluation import ClassIoUMetric
from mmsemi.evaluation.class_iou_metric import (
    PICTURE_SIDE,
    ImageScore,
    best_and_worst,
    class_iou,
    confusion_of,
)

META = dict(classes=("background", "cat", "dog"))


def make(prediction, truth, path="a.png") -> dict:
    """A predicted sample with labels (H, W)."""
    return dict(
        img_path=path,
        pred_sem_seg=dict(data=torch.as_tensor(prediction)[None]),
        gt_sem_seg=dict(data=torch.as_tensor(truth, dtype=torch.uint8)[None]),
    )


def random_samples(count: int) -> list[dict]:
    rng = np.random.default_rng(0)
    return [
        make(rng.integers(0, 3, (9, 7)), rng.choice([0, 1, 2, 255], (9, 7)), f"{i}.png")
        for i in range(count)
    ]


def evaluate(samples: list[dict], inputs: list | None = None, metric=None, **settings):
    metric = metric or ClassIoUMetric(**settings)
    metric.dataset_meta = META
    for number, sample in enumerate(samples):
        batch = {} if inputs is None else dict(inputs=[inputs[number]])
        metric.process(batch, [sample])
    return metric.evaluate(len(samples)), metric.details


def plain_confusion(samples: list[dict]) -> np.ndarray:
    counts = np.zeros((3, 3), int)
    for sample in samples:
        for p, t in zip(*(sample[k]["data"].flatten() for k in ("pred_sem_seg", "gt_sem_seg"))):
            if t != 255:
                counts[int(t), int(p)] += 1
    return counts


def test_the_matrix_is_a_plain_count_and_the_metrics_are_those_of_mmseg():
    samples = random_samples(20)
    metrics, details = evaluate(samples)
    assert details.confusion.tolist() == plain_confusion(samples).tolist()
    stock, _ = evaluate(samples, metric=type("Stock", (IoUMetric,), dict(details=None))())
    assert {key: metrics[key] for key in stock} == pytest.approx(stock)
    for number, name in enumerate(META["classes"]):
        hit = details.confusion[number, number]
        union = details.confusion[number].sum() + details.confusion[:, number].sum() - hit
        assert metrics[f"IoU.{name}"] == round(100 * hit / union, 2)


def test_a_class_that_neither_occurs_nor_is_predicted_has_no_iou():
    metrics, _ = evaluate([make([[0, 1]], [[0, 0]])])
    assert metrics["IoU.cat"] == 0 and "IoU.dog" not in metrics
    iou = class_iou(np.array([[1, 1, 0, 0], [0, 2, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]]))
    # class 0: 1 of {2 true, 1 false}; class 1: 2 of 3; class 2: never hit; class 3: only on void.
    assert iou[:3] == pytest.approx([100 / 3, 200 / 3, 0.0]) and np.isnan(iou[3])


def test_an_image_is_scored_over_the_classes_that_it_has_or_is_predicted_to_have():
    right = make([[0, 0, 1, 1]], [[0, 0, 1, 1]], "right.png")
    half = make([[0, 0, 0, 2]], [[0, 0, 2, 2]], "half.png")  # 2 of 3, 1 of 2
    void = make([[0, 0]], [[255, 255]], "void.png")
    _, details = evaluate([right, half, void])
    assert [one.path for one in details.images] == ["right.png", "half.png", "void.png"]
    assert [one.miou for one in details.images[:2]] == pytest.approx(
        [100, 100 * (2 / 3 + 1 / 2) / 2]
    )
    assert math.isnan(details.images[2].miou)


def test_only_the_best_and_the_worst_images_keep_small_pictures():
    rng = np.random.default_rng(1)
    samples, inputs = [], []
    for number, wrong in enumerate(rng.permutation(40)):
        truth = np.zeros((1, 600), int)
        prediction = truth.copy()
        prediction[0, : 3 * wrong] = 1
        samples.append(make(prediction, truth, f"{wrong}.png"))
        inputs.append(torch.full((3, 1, 600), number, dtype=torch.uint8))
    _, details = evaluate(samples, inputs, num_examples=3)
    shown = [one for one in details.images if one.pictures is not None]
    best, worst = best_and_worst(shown, 3)
    assert [one.path for one in best] == ["0.png", "1.png", "2.png"]
    assert [one.path for one in worst] == ["39.png", "38.png", "37.png"]
    assert len(shown) == 6
    for one in shown:
        number = next(n for n, sample in enumerate(samples) if sample["img_path"] == one.path)
        image, prediction = one.pictures["image"], one.pictures["prediction"]
        assert image.shape[-1] <= PICTURE_SIDE and (image == number).all()
        assert prediction.tolist() == samples[number]["pred_sem_seg"]["data"][0, :, ::3].tolist()
        assert one.pictures["truth"].dtype == np.uint8


def test_no_image_is_among_the_best_and_the_worst():
    images = [
        ImageScore(np.zeros(0, int), np.zeros(0, int), value) for value in (3, math.nan, 1, 2)
    ]
    best, worst = best_and_worst(images, 4)
    assert [one.miou for one in best] == [3] and [one.miou for one in worst] == [1, 2]
    assert best_and_worst(images, 0) == ([], [])


def test_pictures_are_left_out_of_views_and_when_none_are_wanted():
    sample = make([[0, 1]], [[0, 1]])
    view = [torch.zeros(3, 1, 2)]
    for inputs, settings in ((None, {}), ([view], {}), ([view[0]], dict(num_examples=0))):
        _, details = evaluate([sample], inputs, **settings)
        assert details.images[0].pictures is None


def test_void_of_another_value_is_void_in_the_pictures():
    _, details = evaluate([make([[0, 1]], [[0, 9]])], [torch.zeros(3, 1, 2)], ignore_index=9)
    assert details.images[0].pictures["truth"].tolist() == [[0, 255]]
    assert details.confusion.sum() == 1


def test_sparse_counts_add_up():
    metric = ClassIoUMetric()
    parts = [
        metric.intersect_and_union(torch.tensor(p), torch.tensor(t), 3, 255)
        for p, t in (([0, 1], [0, 0]), ([2, 2], [1, 255]))
    ]
    assert [len(part.pairs) for part in parts] == [2, 1]
    assert confusion_of(parts, 3).tolist() == [[1, 1, 0], [0, 0, 1], [0, 0, 0]]


@pytest.mark.parametrize(
    ("prediction", "truth", "kind", "culprit"),
    [
        ([[0, 3]], [[0, 1]], ConfigError, "class 3.*num_classes=3"),
        ([[0, 1]], [[0, 7]], DataError, "value 7"),
        ([[0, 1]], [[0]], ConfigError, "LoadAnnotations after Resize"),
    ],
)
def test_what_mmseg_drops_without_a_word_is_refused(prediction, truth, kind, culprit):
    with pytest.raises(kind, match=culprit):
        evaluate([make(prediction, truth)])


def test_predictions_can_be_written_without_masks(tmp_path):
    metric = ClassIoUMetric(format_only=True, output_dir=str(tmp_path))
    sample = make([[0, 1]], [[0, 1]])
    del sample["gt_sem_seg"]
    metrics, details = evaluate([sample], metric=metric)
    assert metrics == {} and details is None and (tmp_path / "a.png").is_file()
    with pytest.raises(ConfigError, match="num_examples=-1"):
        ClassIoUMetric(num_examples=-1)


def evaluate_rank() -> dict:
    """Every rank sees every second of 21 images; the main one has the details of all."""
    from mmengine.dist import get_rank

    rank, samples = get_rank(), random_samples(21)
    inputs = [torch.full((3, 9, 7), number, dtype=torch.uint8) for number in range(21)]
    metric = ClassIoUMetric(num_examples=2)
    metric.dataset_meta = META
    # A sampler fills up the last rank: 22 samples, the first one twice.
    for number in [*range(21), 0][rank::2]:
        metric.process(dict(inputs=[inputs[number]]), [samples[number]])
    metrics = metric.evaluate(21)
    details = metric.details
    return dict(
        metrics={key: float(value) for key, value in metrics.items()},
        confusion=None if details is None else details.confusion.tolist(),
        paths=None if details is None else [one.path for one in details.images],
        shown=None if details is None else sum(one.pictures is not None for one in details.images),
    )


def test_the_main_process_has_what_all_processes_counted(gloo_pool):
    samples = random_samples(21)
    metrics, details = evaluate(samples)
    main, other = gloo_pool.run(evaluate_rank)
    assert main["metrics"] == other["metrics"] == pytest.approx(metrics)
    assert main["confusion"] == details.confusion.tolist() and other["confusion"] is None
    assert main["paths"] == [one.path for one in details.images]
    assert 4 <= main["shown"] <= 8
