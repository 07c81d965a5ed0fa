# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""The report of a run, from made-up work dirs: which numbers, pictures and settings are in it."""

from __future__ import annotations

import base64
import re

import pytest
from made_runs import finished_run, train_records, val_record, write_folder

from mmsemi.cli import report as command
from mmsemi.errors import DataError
from mmsemi.visualization import run_report
from mmsemi.visualization.page import Cell, Fold, Table
from mmsemi.visualization.run_files import read_run
from mmsemi.visualization.run_report import run_page

FINDING = dict(
    step=20, name="one-class", text="all <background>", setting="model.x=1", guide="docs/g.md"
)


def section(page, title):
    return next(one for one in page.sections if one.title == title).blocks


# --- The files of a run ---------------------------------------------------------------------------


def test_a_resumed_run_is_one_run_and_the_last_value_of_a_step_counts(tmp_path):
    first = [*train_records(10, 40, 2.0), val_record(20, 50.0, 30.0), val_record(40, 99.0, 99.0)]
    second = [*train_records(30, 60, 1.0), val_record(40, 55.0, 35.0)]
    write_folder(
        tmp_path,
        "20260101_000000",
        first,
        dict(start_iter=0),
        findings=[FINDING, {**FINDING, "step": 30}],
    )
    write_folder(tmp_path, "20260102_000000", second, dict(start_iter=20), findings=[{**FINDING, "step": 50}])  # fmt: skip
    run = read_run(tmp_path)
    assert run_report.loss_curves(run)["loss"] == (
        [10, 20, 30, 40, 50, 60],
        [2.0, 2.0, 1.0, 1.0, 1.0, 1.0],
    )
    assert run_report.class_curves(run)["cat"] == ([20, 40], [30.0, 35.0])
    assert [one["step"] for one in run.findings] == [20, 50]


def test_what_a_later_folder_went_through_again_is_dropped(tmp_path):
    """Even where it has not come so far yet: the first training ended at 80."""
    write_folder(tmp_path, "20260101_000000", train_records(10, 80, 2.0), dict(start_iter=0))
    write_folder(tmp_path, "20260102_000000", train_records(50, 60, 1.0), dict(start_iter=40))
    assert run_report.loss_curves(read_run(tmp_path))["loss"][0] == [10, 20, 30, 40, 50, 60]


@pytest.mark.parametrize("with_info", [True, False])
def test_a_training_that_began_anew_is_another_run(tmp_path, with_info):
    info = dict(start_iter=0) if with_info else None
    write_folder(tmp_path, "20260101_000000", train_records(10, 80, 2.0), info)
    write_folder(tmp_path, "20260102_000000", train_records(10, 30, 1.0), info)
    run = read_run(tmp_path)
    assert run_report.loss_curves(run)["loss"] == ([10, 20, 30], [1.0, 1.0, 1.0])
    assert len(run.folders) == 1


def test_runs_without_our_files_are_read_by_their_logs(tmp_path):
    write_folder(tmp_path, "20260101_000000", train_records(10, 40, 2.0))
    write_folder(tmp_path, "20260102_000000", train_records(30, 60, 1.0))  # resumed at 20
    run = read_run(tmp_path)
    losses = run_report.loss_curves(run)["loss"]
    assert losses == ([10, 20, 30, 40, 50, 60], [2.0, 2.0, 1.0, 1.0, 1.0, 1.0])
    titles = [one.title for one in run_page(run).sections]
    assert titles == ["Curves"]


def test_a_folder_without_a_run_is_one_line(tmp_path):
    with pytest.raises(DataError, match="no folder"):
        read_run(tmp_path / "none")
    finished_run(tmp_path / "fixmatch" / "seed0")
    with pytest.raises(DataError, match=r"give .*fixmatch/seed0$") as error:
        read_run(tmp_path)
    assert "\n" not in str(error.value)
    folder = finished_run(tmp_path / "broken")
    (folder / "validation.json").write_text("{")
    with pytest.raises(DataError, match=r"validation\.json"):
        command.main([str(tmp_path / "broken")])


# --- The page -------------------------------------------------------------------------------------


def test_curves_hold_the_logged_numbers(tmp_path):
    finished_run(tmp_path)
    run = read_run(tmp_path)
    assert run_report.score_curves(run) == {
        "teacher (deployed)": ([20, 40], [50.0, 60.0]),
        "student": ([20, 40], [49.0, 59.0]),
    }
    assert run_report.class_curves(run) == {
        "background": ([20, 40], [70.0, 70.0]),
        "cat": ([20, 40], [30.0, 50.0]),
    }
    assert list(run_report.loss_curves(run)) == ["loss", "sup.loss_ce", "unsup.loss"]
    assert run_report.kept_curves(run) == {
        "kept": ([20, 40], [50.0, 75.0]),
        "background": ([20, 40], [40.0, 50.0]),
        "cat": ([20, 40], [10.0, 25.0]),
    }
    assert run_report.statistic_curves(run) == {"unsup.mask_ratio": ([10, 20, 30, 40], [0.5] * 4)}
    assert [value for _, value in run_report.tiles(run)] == [
        "60.00",
        "60.00",
        "40 of 40",
        "75 %",
        "0.25",
    ]


def test_tables_hold_scores_and_confusion(tmp_path):
    finished_run(tmp_path)
    scores, _, matrix = section(run_page(read_run(tmp_path)), "Validation")
    cells = {row[0].text: [cell.text for cell in row[1:]] for row in scores.rows}
    assert scores.head == ["", "teacher (deployed)", "student"]
    assert cells == {
        "mIoU": ["60.00", "59.00"], "background": ["70.00", "60.00"], "cat": ["50.00", "58.00"],
    }  # fmt: skip
    assert scores.rows[2][2].is_best and not scores.rows[2][1].is_best
    assert [[cell.text for cell in row] for row in matrix.rows] == [
        ["background", "75.0", "25.0"], ["cat", "25.0", "75.0"],
    ]  # fmt: skip


def test_the_largest_mistakes_come_first_and_many_classes_are_a_picture():
    classes = [f"c{i}" for i in range(30)]
    confusion = [[100 if i == j else 0 for j in range(30)] for i in range(30)]
    confusion[4][2], confusion[0][9] = 7, 50
    found = run_report.confusion_blocks(
        dict(step=1, network="", classes=classes, confusion=confusion, images=[])
    )
    assert not any(isinstance(block, Table) for block in found)
    (fold,) = (block for block in found if isinstance(block, Fold))
    assert [row[0].text for row in fold.blocks[0].rows] == ["c0 taken for c9", "c4 taken for c2"]
    assert found[0].items[0][1].startswith("data:image/png")


def test_the_page_is_one_file_of_pictures_warnings_and_settings(tmp_path):
    folder = finished_run(tmp_path, findings=[FINDING])
    assert command.main([str(tmp_path)]) == 0
    page = (tmp_path / "report.html").read_text()
    assert not re.search(r'(src|href)="(?!data:)', page) and "url(" not in page
    embedded = {base64.b64decode(data) for data in re.findall(r"base64,([^\"]+)", page)}
    for name in ("examples/best_1.jpg", "examples/worst_1.jpg"):
        assert (folder / name).read_bytes() in embedded
    assert page.index("a.png: mIoU 20.0") < page.index("b.png: mIoU 90.0")
    for text in (
        "all &lt;background&gt;", "model.x=1", "docs/g.md", "mmsemi train &lt;my&gt;.py", "abc123",
        "threshold=0.95", "iteration 20", "not finished",
    ):  # fmt: skip
        assert (text in page) == (text != "not finished"), text


def test_a_running_training_says_how_far_it_is(tmp_path):
    finished_run(tmp_path, info=dict(max_iters=400))
    page = run_page(read_run(tmp_path))
    assert "iteration 40 of 400" in page.intro[-1]


def test_a_network_that_was_not_validated_last_says_when(tmp_path):
    records = [val_record(20, 50.0, 30.0), dict(mIoU=55.0, step=40), *train_records(10, 40, 1.0)]
    write_folder(tmp_path, "20260101_000000", records, dict(start_iter=0, deployed="teacher"))
    table = run_report.score_table(read_run(tmp_path))
    assert table.head[1:] == ["teacher (deployed)", "student, iteration 20"]
    assert table.rows[0][1:] == [Cell("55.00", True), Cell("49.00", False)]
