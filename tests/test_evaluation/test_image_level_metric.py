# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
from __future__ import annotations

import numpy as np
import pytest
import torch
from mmengine.evaluator import Evaluator
from mmengine.logging import MessageHub
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample

from mmsemi.errors import ConfigError, DataError
from mmsemi.evaluation import ImageLevelMetric, ScoreTable
from mmsemi.evaluation.image_level_metric import image_level_metrics

CLASSES = ("background", "left", "right")


@pytest.fixture(autouse=True)
def no_split():
    """The message hub outlives a test."""
    yield
    MessageHub.get_current_instance().pop_info("checkpoint_split")


def sample(name, scores, classes=(0,), network="teacher"):
    """What a classifier returns for an image that shows some classes; None: without a mask."""
    result = SegDataSample(metainfo=dict(img_path=f"data/{name}.jpg", network=network))
    result.set_data(dict(pred_scores=torch.tensor(scores)))
    if classes is not None:
        mask = torch.full((1, 6, 8), 255)
        for column, label in enumerate(classes):
            mask[0, 2, column] = label
        result.gt_sem_seg = PixelData(data=mask)
    return result


def evaluate(metric, *samples, batches=1):
    evaluator = Evaluator(metric)
    evaluator.dataset_meta = dict(classes=CLASSES)
    for batch in np.array_split(np.arange(len(samples)), batches):
        evaluator.process([samples[i] for i in batch])
    return evaluator.evaluate(len(samples))


SAMPLES = (
    sample("a", [0.9, 0.8, 0.1], (0, 1)),
    sample("b", [0.7, 0.6, 0.2], (0,)),
    sample("c", [0.8, 0.4, 0.3], (0, 1)),
    sample("d", [0.6, 0.1, 0.9], ()),
)


def test_metrics_written_out():
    """Class 2 is in no image: it counts in no mean over classes; d has no label and counts nowhere.

    Class 1: positives rank 1 and 3 of 3, so AP = (1/1 + 2/3)/2; at 0.5, a is found, b is false.
    """
    found = evaluate(ImageLevelMetric(), *SAMPLES, batches=2)
    assert found["mAP"] == pytest.approx(100 * (1 + (1 + 2 / 3) / 2) / 2, abs=1e-4)
    assert found["CP"] == pytest.approx(100 * (1 + 1 / 2) / 2)
    assert found["CR"] == pytest.approx(100 * (1 + 1 / 2) / 2)
    assert found["CF1"] == pytest.approx(100 * (1 + 1 / 2) / 2)
    assert found["OP"] == pytest.approx(80.0) and found["OR"] == pytest.approx(80.0)
    assert found["OF1"] == pytest.approx(80.0)
    assert set(found) == {"mAP", "CP", "CR", "CF1", "OP", "OR", "OF1"}


def test_the_threshold_is_part_of_the_positives():
    samples = (sample("a", [1.0, 0.2, 0.0], (0, 1)), sample("b", [1.0, 0.1, 0.0], (0,)))
    assert evaluate(ImageLevelMetric(threshold=0.2), *samples)["CR"] == 100
    assert evaluate(ImageLevelMetric(threshold=0.2), *samples)["CP"] == 100
    assert evaluate(ImageLevelMetric(threshold=0.25), *samples)["CR"] == 50


def test_an_absent_class_lowers_what_it_should():
    """False alarms of a class that no image shows count in the means over all pairs."""
    scores = torch.tensor([[0.9, 0.9], [0.8, 0.1]])
    truth = torch.tensor([[1, 0], [1, 0]])
    found = image_level_metrics(scores, truth)
    assert found["mAP"] == found["CF1"] == 100
    assert found["OP"] == pytest.approx(200 / 3, abs=1e-4) and found["OR"] == 100
    assert truth.tolist() == [[1, 0], [1, 0]], "the caller's tensor is not changed"


@pytest.mark.parametrize("suffix", ["npz", "json"])
def test_the_table_on_disk(tmp_path, suffix):
    split = dict(name="RatioSplit(ratio=0.125)", labeled=4, labeled_sha256="ab")
    MessageHub.get_current_instance().update_info("checkpoint_split", split)
    path = tmp_path / "folder" / f"scores.{suffix}"
    evaluate(ImageLevelMetric(out_file=str(path)), *SAMPLES)
    table = ScoreTable.load(path)
    assert table.classes == CLASSES and table.network == "teacher" and table.split == split
    assert list(table.scores) == ["a", "b", "c", "d"]
    for one in SAMPLES:
        row = table.scores[one.img_path[5:-4]]
        assert row.dtype == np.float32 and np.array_equal(row, one.pred_scores.numpy())


def test_without_a_training_the_split_is_unknown(tmp_path):
    evaluate(ImageLevelMetric(out_file=tmp_path / "s.npz"), *SAMPLES)
    assert ScoreTable.load(tmp_path / "s.npz").split is None


def test_each_network_has_a_file_of_its_own(tmp_path):
    """As in TeacherStudentValLoop: one evaluator, the network that predicts first, every time."""
    metric = ImageLevelMetric(out_file=tmp_path / "s.npz", text_file=tmp_path / "s.txt")
    for value in (0.25, 0.5):
        for network, own in (("teacher", value), ("student", value / 2)):
            evaluate(metric, sample("a", [own, 0.0, 0.0], network=network))
    for name, own in (("s", 0.5), ("s_student", 0.25)):
        table = ScoreTable.load(tmp_path / f"{name}.npz")
        assert table.network == ("student" if "student" in name else "teacher")
        assert table.scores["a"][0] == own
        assert (tmp_path / f"{name}.txt").read_text() == f"{own:.6f} 0.000000 0.000000\n"


def test_the_background_stays_with_its_image(tmp_path):
    """docs/methods/mlmt.md#background-column: the released code gives it to the next image."""
    images = (sample("a", [0.9, 0.1, 0.2], (0, 1)), sample("b", [0.8, 0.3, 0.4], (1,)))
    path = tmp_path / "scores.txt"
    evaluate(ImageLevelMetric(text_file=path, out_file=tmp_path / "s.npz"), *images)
    rows = np.loadtxt(path).tolist()
    assert rows == [[0.9, 0.1, 0.2], [0.8, 0.3, 0.4]]
    read = ScoreTable.load_text(path, ["a", "b"], CLASSES)
    assert read.scores["b"].tolist() == pytest.approx([0.8, 0.3, 0.4])
    # The truth, too: only a shows the background, so b is the one false alarm of class 0.
    found = evaluate(ImageLevelMetric(), *images)
    assert found["OP"] == 50 and found["OR"] == pytest.approx(100 / 3, abs=1e-4)


def test_images_without_masks_are_scored_only(tmp_path):
    unknown = sample("e", [0.5, 0.5, 0.5], None)
    assert evaluate(ImageLevelMetric(out_file=tmp_path / "s.npz"), unknown) == {}
    assert list(ScoreTable.load(tmp_path / "s.npz").scores) == ["e"]
    both = evaluate(ImageLevelMetric(out_file=tmp_path / "s.npz"), *SAMPLES, unknown)
    assert both == evaluate(ImageLevelMetric(), *SAMPLES)
    void = sample("f", [0.5, 0.5, 0.5], ())
    assert evaluate(ImageLevelMetric(), void) == {}
    with pytest.raises(ConfigError, match="'data/e.jpg'.* out_file"):
        evaluate(ImageLevelMetric(), unknown)


@pytest.mark.parametrize(
    ("image", "kind", "culprit"),
    [
        (sample("a", [0.1, 0.2]), ConfigError, r"'data/a.jpg' .*\(2,\)"),
        (sample("a", [0.1] * 3, (0, 7)), DataError, "'data/a.jpg' .* 7"),
    ],
)
def test_what_does_not_fit_names_the_image(image, kind, culprit):
    with pytest.raises(kind, match=culprit):
        evaluate(ImageLevelMetric(), image)


def test_two_images_of_one_id(tmp_path):
    metric = ImageLevelMetric(out_file=tmp_path / "s.npz")
    with pytest.raises(DataError, match="'a'"):
        evaluate(metric, SAMPLES[0], SAMPLES[0])
    assert not list(tmp_path.iterdir())


def test_a_segmentor_gives_no_scores():
    with pytest.raises(ConfigError, match="ImageLevelMetric .*pred_scores"):
        evaluate(ImageLevelMetric(), SegDataSample(metainfo=dict(img_path="a.png")))


@pytest.mark.parametrize(
    ("settings", "culprit"),
    [
        (dict(threshold=1), "threshold=1"),
        (dict(out_file="scores.txt"), "out_file='scores.txt'"),
    ],
)
def test_bad_arguments(settings, culprit):
    with pytest.raises(ConfigError, match=culprit):
        ImageLevelMetric(**settings)


def test_a_relative_file_lies_in_the_work_dir(tmp_path, message_hub, monkeypatch):
    monkeypatch.chdir(tmp_path)
    message_hub.update_info("work_dir", str(tmp_path / "run"), resumed=False)
    evaluate(ImageLevelMetric(out_file="scores.npz", text_file=tmp_path / "x.txt"), *SAMPLES)
    assert len(ScoreTable.load(tmp_path / "run" / "scores.npz").scores) == len(SAMPLES)
    assert (tmp_path / "x.txt").is_file() and not (tmp_path / "scores.npz").exists()
