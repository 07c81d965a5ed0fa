# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""What a training leaves for its report, and that a report never ends it."""

from __future__ import annotations

import itertools
import json
import logging
from pathlib import Path

import numpy as np
import pytest
from mmengine.runner import Runner
from PIL import Image

from mmsemi.engine.hooks import report_hook
from mmsemi.visualization.run_files import read_run

_numbers = itertools.count()


@pytest.fixture
def train(semi_config, val_config, segmentor_config, preprocessor_config, tmp_path, monkeypatch):
    """Trains FixMatch with validations at 2 and 4; returns the runner and the lines of its log."""
    monkeypatch.setattr(Runner, "_log_env", lambda self, env_cfg: None)

    def run(name: str = "run", max_iters: int = 4, resume: bool = False, metric="ClassIoUMetric"):
        validation = dict(
            val_dataloader=dict(
                dataset=val_config, batch_size=1, num_workers=0,
                sampler=dict(type="DefaultSampler", shuffle=False),
            ),
            val_evaluator=dict(type=metric, iou_metrics=["mIoU"]),
            val_cfg=dict(type="TeacherStudentValLoop"),
        )  # fmt: skip
        runner = Runner(
            **(validation if metric else {}),
            model=dict(
                type="FixMatch", segmentor=segmentor_config, data_preprocessor=preprocessor_config,
                threshold=0.1,
            ),
            work_dir=str(tmp_path / name),
            train_dataloader=dict(
                dataset=semi_config,
                sampler=dict(
                    type="MultiSourceSampler", num_per_source=dict(labeled=2, unlabeled=2)
                ),
                batch_size=4,
                num_workers=0,
            ),
            train_cfg=dict(type="SemiIterBasedTrainLoop", max_iters=max_iters, val_interval=2),
            default_hooks=dict(
                logger=dict(type="LoggerHook", interval=1, log_metric_by_epoch=False),
                checkpoint=dict(type="AtomicCheckpointHook", by_epoch=False, interval=2),
                pseudo_labels=dict(type="PseudoLabelVisHook"),
                report=dict(type="ReportHook"),
            ),
            optim_wrapper=dict(optimizer=dict(type="SGD", lr=0.02)),
            visualizer=dict(
                type="SegLocalVisualizer", name=f"report{next(_numbers)}",
                vis_backends=[dict(type="LocalVisBackend")],
            ),
            log_processor=dict(by_epoch=False),
            randomness=dict(seed=5),
            default_scope="mmseg",
            experiment_name=f"report{next(_numbers)}",
            resume=resume,
        )  # fmt: skip
        lines, handler = [], logging.Handler(logging.INFO)
        handler.emit = lambda record: lines.append(record.getMessage())
        runner.logger.addHandler(handler)
        runner.train()
        return runner, lines

    return run


def test_a_training_leaves_its_report(train, monkeypatch):
    pages = []
    write = report_hook.write_report
    monkeypatch.setattr(report_hook, "write_report", lambda w: pages.append(write(w)) or pages[-1])
    monkeypatch.setattr("sys.argv", ["mmsemi train", "my.py", "--work-dir", "a b"])
    runner, lines = train()
    folder = Path(runner.log_dir) / "vis_data"
    assert len(pages) == 3 and pages[-1] == Path(runner.work_dir) / "report.html"
    info = json.loads((folder / "run.json").read_text())
    assert info["command"] == "mmsemi train my.py --work-dir 'a b'"
    assert (info["seed"], info["start_iter"], info["max_iters"], info["deployed"]) == (
        5,
        0,
        4,
        "teacher",
    )
    assert info["split"] == runner.train_dataloader.dataset.split_info
    assert {"torch", "mmseg", "cpu"} <= set(info["environment"])

    found = json.loads((folder / "validation.json").read_text())
    dataset = runner.val_dataloader.dataset
    masks = [Image.open(dataset.get_data_info(i)["seg_map_path"]) for i in range(len(dataset))]
    truth = np.concatenate([np.array(mask).ravel() for mask in masks])
    counts = np.bincount(truth[truth != 255], minlength=len(found["classes"]))
    confusion = np.array(found["confusion"])
    assert confusion.sum(1).tolist() == counts.tolist()
    assert (found["step"], found["network"], len(found["images"])) == (4, "teacher", len(dataset))
    hit = np.diag(confusion)
    iou = hit / (confusion.sum(0) + confusion.sum(1) - hit)
    (last,) = (r for r in read_run(runner.work_dir).records if "mIoU" in r and r["step"] == 4)
    assert last["mIoU"] == pytest.approx(100 * np.nanmean(iou), abs=0.01)
    assert last["IoU.left"] == pytest.approx(100 * iou[1], abs=0.01)
    assert "student/IoU.left" in last
    (printed,) = [line for line in lines if line.startswith("Iter(val)") and "time" in line][-1:]
    assert "mIoU" in printed and "IoU.left" not in printed
    scores = [one["mIoU"] for one in found["examples"]]
    best = [one["mIoU"] for one in found["examples"] if one["kind"] == "best"]
    assert best == sorted(best, reverse=True) and max(scores) == best[0]
    for one in found["examples"]:
        assert Image.open(folder / "examples" / one["file"]).width > 600
    page = pages[-1].read_text()
    assert "mIoU of teacher (deployed)" in page and "Pseudo-labels over time" in page


def test_a_resumed_training_goes_on_in_the_same_report(train):
    train(max_iters=2)
    runner, _ = train(max_iters=4, resume=True)
    run = read_run(runner.work_dir)
    assert run.starts == [0, 2]
    assert [r["step"] for r in run.records if "iter" in r] == [1, 2, 3, 4]
    assert [r["step"] for r in run.records if "mIoU" in r] == [2, 4]


def test_without_details_there_is_a_report_of_the_log(train):
    runner, _ = train(max_iters=2, metric="IoUMetric")
    assert not (Path(runner.log_dir) / "vis_data" / "validation.json").exists()
    assert (Path(runner.work_dir) / "report.html").is_file()


def test_a_training_without_validation_has_a_report(train):
    runner, _ = train(max_iters=2, metric=None)
    info = json.loads((Path(runner.log_dir) / "vis_data" / "run.json").read_text())
    assert info["validation_images"] is None and info["max_iters"] == 2
    assert "loss" in (Path(runner.work_dir) / "report.html").read_text()


def test_a_report_that_fails_is_a_warning(train, monkeypatch):
    def fail(work_dir):
        raise RuntimeError("no font")

    monkeypatch.setattr(report_hook, "write_report", fail)
    runner, lines = train(max_iters=2)
    assert runner.iter == 2 and any("no font" in line for line in lines)
