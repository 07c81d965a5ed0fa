# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""The fusion's known answer, its guards, and its use as a metric."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.evaluator import Evaluator
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample

from mmsemi.errors import ConfigError, DataError
from mmsemi.evaluation import GatedIoUMetric, ImageLevelGate, ScoreTable, gated_labels

CLASSES = ("background", "cat", "dog")
SPLIT = dict(name="s", labeled=4, labeled_sha256="ab" * 32)


def write_table(folder: Path, split: dict | None = None, **scores) -> str:
    rows = {name: np.float32(row) for name, row in scores.items()}
    ScoreTable(CLASSES, rows, "teacher", split).save(folder / "scores.npz")
    return str(folder / "scores.npz")


def pixel(*logits: float) -> torch.Tensor:
    return torch.tensor(logits)[:, None, None]


def test_the_gated_class_does_not_win_by_its_zero() -> None:
    """docs/methods/s4gan.md#fusion: logits times gate would choose class 1, which is gated off."""
    logits, gate = pixel(-0.5, -0.2, -1.0), torch.tensor([True, False, True])
    assert (logits * gate[:, None, None]).argmax(0).item() == 1
    probabilities = logits.softmax(0)
    torch.testing.assert_close(
        probabilities.flatten(), torch.tensor([0.3382504, 0.4565903, 0.2051593]), atol=1e-6, rtol=0
    )
    assert (probabilities * gate[:, None, None]).argmax(0).item() == 0
    assert gated_labels(logits, gate).item() == 0


def test_it_is_the_arg_max_of_softmax_times_gate() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(6, 9, 7, generator=generator, dtype=torch.float64)
    for _ in range(20):
        gate = torch.rand(6, generator=generator) > 0.5
        gate[0] = True
        expected = (logits.softmax(0) * gate[:, None, None]).argmax(0)
        torch.testing.assert_close(gated_labels(logits, gate), expected)
        torch.testing.assert_close(gated_labels(logits.softmax(0), gate), expected)


def test_a_probability_that_underflows_still_beats_a_gated_class() -> None:
    """softmax times gate is 0 for every class here, and its arg max would be class 0."""
    logits, gate = pixel(300.0, 1.0, 2.0), torch.tensor([False, True, True])
    assert (logits.softmax(0) * gate[:, None, None]).argmax(0).item() == 0
    assert gated_labels(logits, gate).item() == 2


def test_without_any_class_left_the_map_stays() -> None:
    assert gated_labels(pixel(-3.0, -1.0, -2.0), torch.zeros(3, dtype=torch.bool)).item() == 1


@pytest.mark.parametrize(
    "background, expected",
    [("background", [True, True, False]), (None, [False, True, False]), (2, [False, True, True])],
)
def test_the_threshold_is_inclusive_and_the_background_stays(
    tmp_path, background, expected, predict
) -> None:
    table = write_table(tmp_path, a=[0.0, 0.2, 0.199999])
    gate = ImageLevelGate(table, 0.2, background=background)
    gate.apply([predict(torch.zeros(2, 2, dtype=torch.long))], CLASSES)
    assert gate.keep("folder/a.jpg").tolist() == expected


def test_samples_of_other_metrics_stay_as_they_are(tmp_path, make_sample) -> None:
    gate = ImageLevelGate(write_table(tmp_path, a=[1, 0, 1]))
    sample = make_sample(pixel(-0.5, -0.2, -1.0), torch.tensor([[0]]))
    (gated,) = gate.apply([sample], CLASSES)
    assert sample["pred_sem_seg"]["data"].item() == 1 and gated["pred_sem_seg"]["data"].item() == 0
    assert gated["pred_sem_seg"]["data"].shape == (1, 1, 1)


def test_half_precision_logits_are_gated(tmp_path, make_sample) -> None:
    gate = ImageLevelGate(write_table(tmp_path, a=[1, 0, 1]))
    (gated,) = gate.apply([make_sample(pixel(-0.5, -0.2, -1.0).bfloat16())], CLASSES)
    assert gated["pred_sem_seg"]["data"].item() == 0


# ------------------------------------------------------------------------------------------ guards


def test_an_image_without_a_row(tmp_path, make_sample) -> None:
    path = write_table(tmp_path, a=[1, 0, 1])
    sample = make_sample(pixel(-0.5, -0.2, -1.0), path="val/b.jpg")
    with pytest.raises(DataError, match=r"scores.npz' .*'val/b.jpg'"):
        ImageLevelGate(path).apply([sample], CLASSES)
    (kept,) = ImageLevelGate(path, missing="keep").apply([sample], CLASSES)
    assert kept["pred_sem_seg"]["data"].item() == 1


def test_other_classes_are_refused(tmp_path, make_sample) -> None:
    gate = ImageLevelGate(write_table(tmp_path, a=[1, 0, 1]))
    sample = make_sample(pixel(0.0, 1.0, 2.0))
    with pytest.raises(DataError, match="1 is 'cat' .*'dog'"):
        gate.apply([sample], ("background", "dog", "cat"))
    with pytest.raises(DataError, match=r"3 and 2.* 2 is 'dog' .*None"):
        gate.apply([sample], CLASSES[:2])


@pytest.mark.parametrize(
    "settings, culprit",
    [
        (dict(threshold=20), "gate.threshold=20"),
        (dict(threshold="0.2"), "gate.threshold='0.2'"),
        (dict(missing="skip"), "gate.missing='skip'"),
        (dict(treshold=0.2), "'treshold' .*'threshold'"),
        (dict(scores=None), "gate.scores"),
    ],
)
def test_wrong_settings_are_refused(tmp_path, settings, culprit) -> None:
    with pytest.raises(ConfigError, match=culprit):
        ImageLevelGate.build({"scores": write_table(tmp_path, a=[1, 0, 1]), **settings})


def test_an_unknown_background_is_refused(tmp_path, make_sample) -> None:
    gate = ImageLevelGate(write_table(tmp_path, a=[1, 0, 1]), background="cats")
    with pytest.raises(ConfigError, match="gate.background='cats'.*'cat'"):
        gate.apply([make_sample(pixel(0.0, 1.0, 2.0))], CLASSES)


def test_a_missing_table_names_the_command(tmp_path) -> None:
    with pytest.raises(DataError, match=r"none.npz'.*gate.scores"):
        ImageLevelGate.build(dict(scores=str(tmp_path / "none.npz")))


def test_the_table_of_a_classifier_lies_in_its_work_dir(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    gate = dict(classifier="configs/mlmt/own_1-8.py")
    where = Path("work_dirs", "mlmt", "own_1-8")
    with pytest.raises(DataError, match=rf"{where}/scores.npz.*mmsemi train {gate['classifier']}"):
        ImageLevelGate.build(gate)
    where.mkdir(parents=True)
    write_table(where, a=[1, 0, 1])
    assert ImageLevelGate.build(gate).path == str(where / "scores.npz")
    write_table(tmp_path, a=[0, 0, 1])
    other = ImageLevelGate.build({**gate, "scores": str(tmp_path)})  # a setting counts
    assert other.path == str(tmp_path / "scores.npz")


def test_a_folder_stands_for_its_score_table(tmp_path) -> None:
    with pytest.raises(DataError, match=r"gate\.scores"):
        ImageLevelGate.build(dict(scores=str(tmp_path)))
    table = Path(write_table(tmp_path, a=[1, 0, 1]))
    table.rename(tmp_path / "scores.npz")
    assert ImageLevelGate.build(dict(scores=str(tmp_path))).path == str(tmp_path / "scores.npz")


def test_a_model_with_one_channel_is_refused(tmp_path, make_sample) -> None:
    sample = make_sample(torch.rand(1, 4, 4))
    with pytest.raises(ConfigError, match="decode_head.out_channels=3"):
        ImageLevelGate(write_table(tmp_path, a=[1, 0, 1])).apply([sample], CLASSES)
    with pytest.raises(ConfigError, match="decode_head.num_classes=3"):
        ImageLevelGate(write_table(tmp_path, a=[1, 0, 1])).apply(
            [make_sample(torch.rand(5, 4, 4))], CLASSES
        )


def test_logits_of_another_prediction_are_refused(tmp_path, make_sample) -> None:
    """mmseg's test-time augmentation leaves the logits of its last view in the sample."""
    sample = make_sample(pixel(0.0, 1.0, 2.0))
    sample["pred_sem_seg"] = dict(data=torch.tensor([[0]]))  # as SegTTAModel: without the 1
    with pytest.raises(ConfigError, match="seg_logits.*--tta"):
        ImageLevelGate(write_table(tmp_path, a=[1, 0, 1])).apply([sample], CLASSES)


def test_other_labels_than_the_segmentor_are_refused(tmp_path, make_sample, message_hub) -> None:
    sample = make_sample(pixel(-0.5, -0.2, -1.0))
    path = write_table(tmp_path, SPLIT, a=[1, 0, 1])
    message_hub.update_info("checkpoint_split", {**SPLIT, "name": "t", "labeled_sha256": "cd" * 32})
    with pytest.raises(DataError, match=r"split s \(4 .* split t"):
        ImageLevelGate(path).apply([sample], CLASSES)
    ImageLevelGate(path, check_split=False).apply([sample], CLASSES)
    # Another name or other unlabelled images are no other labels.
    message_hub.update_info("checkpoint_split", {**SPLIT, "name": "t", "unlabeled": 7})
    gate = ImageLevelGate(path)
    gate.apply([sample], CLASSES)
    # The same metric may see another checkpoint later.
    message_hub.update_info("checkpoint_split", {**SPLIT, "labeled_sha256": "cd" * 32})
    with pytest.raises(DataError, match="gate.check_split"):
        gate.apply([sample], CLASSES)


@pytest.mark.parametrize("table_knows, checkpoint_knows", [(True, False), (False, True), (0, 0)])
def test_unknown_labels_are_warned_about(
    tmp_path, make_sample, message_hub, monkeypatch, table_knows, checkpoint_knows
) -> None:
    said = []
    monkeypatch.setattr(
        "mmsemi.evaluation.image_level_gate.print_log", lambda *line: said.append(line)
    )
    message_hub.update_info("checkpoint_split", SPLIT if checkpoint_knows else None)
    gate = ImageLevelGate(write_table(tmp_path, SPLIT if table_knows else None, a=[1, 0, 1]))
    for _ in range(2):
        gate.apply([make_sample(pixel(-0.5, -0.2, -1.0))], CLASSES)
    ((line, _, level),) = said
    assert level == logging.WARNING
    assert ("scores.npz" in line) == (not table_knows)
    assert ("the segmentor's checkpoint" in line) == (not checkpoint_knows)


# ------------------------------------------------------------------------------------------ metric


def test_the_metric_reports_beside_the_ungated_one(tmp_path) -> None:
    """Image a: the cat is gated off, its pixels become dog or background, as labelled."""
    logits = torch.tensor([[[0.0, 3.0, 1.0]], [[5.0, 1.0, 2.0]], [[1.0, 0.0, 1.5]]])
    labels = torch.tensor([[2, 0, 2]])
    sample = SegDataSample(
        seg_logits=PixelData(data=logits),
        pred_sem_seg=PixelData(data=logits.argmax(0, keepdim=True)),
        gt_sem_seg=PixelData(data=labels[None]),
        metainfo=dict(img_path="a.png"),
    )
    scores = write_table(tmp_path, a=[0.9, 0.1, 0.8])
    evaluator = Evaluator(
        [dict(type="IoUMetric"), dict(type="GatedIoUMetric", gate=dict(scores=scores))]
    )
    evaluator.dataset_meta = dict(classes=CLASSES)
    evaluator.process([sample], None)
    metrics = evaluator.evaluate(1)
    assert metrics["fused/mIoU"] == 100 and metrics["fused/aAcc"] == 100
    # Ungated: pixels are cat, background, cat.
    assert metrics["mIoU"] == pytest.approx(100 / 3, abs=0.01)


def test_settings_that_mmseg_would_swallow_are_refused(tmp_path) -> None:
    with pytest.raises(ConfigError, match="'ignore_indx'"):
        GatedIoUMetric(gate=dict(scores=write_table(tmp_path, a=[1, 0, 1])), ignore_indx=0)
