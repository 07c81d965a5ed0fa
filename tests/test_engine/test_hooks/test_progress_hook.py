# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""What stands on the console, and that the log file keeps the stock lines."""

from __future__ import annotations

import io
import itertools
import logging
from pathlib import Path

import pytest
from method_tester import build_runner
from step_runner import SIZE, NoiseImages
from tiny_nets import FCN

from mmsemi.engine.hooks.progress_hook import duration, progress_text

_numbers = itertools.count()


class Stream(io.StringIO):
    def __init__(self, is_terminal: bool) -> None:
        super().__init__()
        self.is_terminal = is_terminal

    def isatty(self) -> bool:
        return self.is_terminal


def train(folder: Path, stream: Stream, monkeypatch) -> tuple:
    assert NoiseImages.metainfo
    number = next(_numbers)
    config = dict(
        default_scope="mmseg",
        model=dict(
            type="FixMatch",
            threshold=0.4,
            mix=dict(type="CutMix"),
            segmentor=FCN,
            data_preprocessor=dict(type="SemiSegDataPreProcessor", size=(SIZE, SIZE)),
        ),
        train_dataloader=dict(
            num_workers=0,
            sampler=dict(type="MultiSourceSampler", num_per_source=dict(labeled=2, unlabeled=4)),
            dataset=dict(type="NoiseImages"),
        ),
        train_cfg=dict(type="SemiIterBasedTrainLoop", max_iters=4),
        default_hooks=dict(
            checkpoint=dict(type="AtomicCheckpointHook", by_epoch=False, interval=100),
            logger=dict(type="LoggerHook", interval=2, log_metric_by_epoch=False),
            diagnosis=dict(type="DiagnosisHook"),
            progress=dict(type="ProgressHook", every=0),
        ),
        optim_wrapper=dict(optimizer=dict(type="SGD", lr=0.01)),
        visualizer=dict(
            type="SegLocalVisualizer",
            name=f"progress{number}",
            vis_backends=[dict(type="LocalVisBackend")],
        ),
        log_processor=dict(by_epoch=False),
        randomness=dict(seed=1),
        work_dir=str(folder / f"run{number}"),
        experiment_name=f"progress{number}",
    )
    runner = build_runner(config)
    (console,) = (h for h in runner.logger.handlers if type(h) is logging.StreamHandler)
    console.stream = stream
    before = list(console.filters)
    runner.train()
    assert console.filters == before
    return runner, next(Path(runner.log_dir).glob("*.log")).read_text()


def test_without_a_terminal_there_is_a_line_with_each_log(tmp_path, monkeypatch):
    stream = Stream(False)
    runner, file = train(tmp_path, stream, monkeypatch)
    lines = [line for line in stream.getvalue().splitlines() if "iteration " in line]
    assert [line.split("iteration ")[1].split(",")[0] for line in lines] == ["2/4", "4/4"]
    assert all("loss " in line and "kept " in line and " left" in line for line in lines)
    assert "Iter(train)" not in stream.getvalue() and "\r" not in stream.getvalue()
    assert file.count("Iter(train)") == 2 and "kept " not in file
    loss = float(runner.message_hub.get_scalar("train/loss").current())
    assert f"loss {loss:.3f}" in lines[-1]


def test_on_a_terminal_one_line_replaces_itself(tmp_path, monkeypatch):
    stream = Stream(True)
    _, file = train(tmp_path, stream, monkeypatch)
    text = stream.getvalue()
    forms = [part for part in text.split("\r\x1b[2K") if part.startswith("iteration ")]
    assert [form.split(",")[0] for form in forms] == [f"iteration {i}/4" for i in range(1, 5)]
    # Each is taken away before the next line of the log, and none before the end is left.
    assert all("\n" not in form for form in forms[:-1])
    assert "Iter(train)" not in text and file.count("Iter(train)") == 2


def test_a_validation_is_in_the_line(tmp_path, monkeypatch):
    runner, _ = train(tmp_path, Stream(False), monkeypatch)
    assert "mIoU" not in progress_text(runner)
    runner.message_hub.update_scalar("val/mIoU", 71.234)
    assert "mIoU 71.23" in progress_text(runner)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (59, "59 s"), (60, "1 min"), (3570, "1 h 0 min"), (7500, "2 h 5 min")],
)
def test_duration(seconds, text):
    assert duration(seconds) == text
