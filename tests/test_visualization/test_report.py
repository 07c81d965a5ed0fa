# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""The demo's report, from made-up logs: what is read, computed, drawn and written."""

from __future__ import annotations

import io
import json
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from mmsemi.errors import DataError
from mmsemi.visualization import report

RECORDS = [
    {"lr": 0.1, "loss": 2.0, "time": 0.5, "iter": 10, "step": 10},
    {"lr": 0.1, "loss": 1.0, "time": 0.5, "iter": 20, "step": 20},
    {"aAcc": 80.0, "mIoU": 31.5, "step": 20},
    {"lr": 0.1, "loss": 0.5, "time": 0.25, "iter": 30, "step": 30},
    {"aAcc": 90.0, "mIoU": 42.25, "step": 30},
]


def write_scalars(work_dir, stamp, records, tail=""):
    path = work_dir / stamp / "vis_data" / "scalars.json"
    path.parent.mkdir(parents=True)
    path.write_text("".join(json.dumps(record) + "\n" for record in records) + tail)
    return path


def test_newest_run_is_found_and_old_ones_can_be_ignored(tmp_path):
    assert report.find_scalars(tmp_path / "none") is None
    new = write_scalars(tmp_path, "20250102_000000", RECORDS)
    old = write_scalars(tmp_path, "20250101_235959", RECORDS)  # written later, started earlier
    assert report.find_scalars(tmp_path) == new
    assert report.find_scalars(tmp_path, ignore=[new]) == old
    assert report.find_scalars(tmp_path, ignore=[new, old]) is None


def test_half_written_last_line_is_left_out(tmp_path):
    path = write_scalars(tmp_path, "1", RECORDS, tail='{"loss": 0.')
    assert report.read_scalars(path) == RECORDS
    broken = write_scalars(tmp_path, "2", RECORDS[:1], tail='{"loss": 0.\n{"loss": 1}\n')
    with pytest.raises(DataError, match=r"scalars\.json line 2"):
        report.read_scalars(broken)


def test_series_and_last_value():
    assert report.series(RECORDS, "loss") == ([10, 20, 30], [2.0, 1.0, 0.5])
    assert report.series(RECORDS, "mIoU") == ([20, 30], [31.5, 42.25])
    assert report.series([{"mIoU": 1.0}], "mIoU") == ([0], [1.0])
    assert report.last_value(RECORDS, "mIoU") == 42.25
    assert report.last_value(RECORDS, "mDice") is None


def test_progress_line():
    assert report.progress_line("CPS", []) == "CPS: starting"
    # 90 iterations of 0.25 s are 22.5 s.
    assert (
        report.progress_line("CPS", RECORDS, 120)
        == "CPS: iter 30/120, loss 0.500, mIoU 42.25, about 0.4 min left"
    )
    assert report.progress_line("CPS", RECORDS[:1]) == "CPS: iter 10, loss 2.000"


def test_table_aligns_and_shows_the_gain():
    columns = {
        "supervised": {"disc": 40.0, "mIoU": 50.0},
        "CPS+CutMix": {"disc": 39.5, "mIoU": 55.125},
    }
    lines = report.result_table(columns).splitlines()
    assert lines[0].split() == ["supervised", "CPS+CutMix", "CPS+CutMix", "-", "supervised"]
    assert lines[2].split() == ["disc", "40.00", "39.50", "-0.50"]
    assert lines[3].split() == ["mIoU", "50.00", "55.12", "+5.12"]
    assert len({len(line) for line in lines}) == 1
    alone = report.result_table({"supervised": {"mIoU": 50.0}}).splitlines()
    assert alone[2].split() == ["mIoU", "50.00"]


def test_colors_of_labels_and_void():
    picture = report.colorize(np.array([[0, 1, 255]], np.uint8), [(0, 0, 0), (9, 8, 7)])
    assert picture.tolist() == [[[0, 0, 0], [9, 8, 7], list(report.VOID_COLOR)]]
    with pytest.raises(ValueError, match="label 2 "):
        report.colorize(np.array([[2]], np.uint8), [(0, 0, 0), (9, 8, 7)])


def test_grid_places_pictures_without_new_colors():
    red = np.zeros((10, 20, 3), np.uint8)
    red[..., 0] = 200
    grid = report.picture_grid([[red, None], [None, red]], ["a", "b"], cell=40)
    assert grid.shape == (26 + 2 * 26 + 6, 2 * 46 + 6, 3), "rows are as high as their pictures"
    is_red = (grid == (200, 0, 0)).all(axis=2)
    assert is_red.sum() == 2 * 40 * 20  # twice the size, the aspect kept
    assert is_red[26 + 6 + 10, 6 + 20] and is_red[26 + 32 + 10, 52 + 20]
    assert not is_red[26 + 6 + 10, 52 + 20]
    tall = np.zeros((20, 10, 3), np.uint8)
    mixed = report.picture_grid([[red, tall], [None, None]], ["a", "b"], cell=40)
    assert mixed.shape[0] == 26 + 2 * 46 + 6
    assert (mixed[26 + 6 + 20, 6 + 20] == (200, 0, 0)).all(), "in the middle of its row"
    with pytest.raises(ValueError, match="1 .* 2 "):
        report.picture_grid([[red]], ["a", "b"])


def test_png_is_lossless():
    picture = np.random.default_rng(0).integers(0, 256, (5, 7, 3)).astype(np.uint8)
    assert np.array_equal(Image.open(io.BytesIO(report.encode_png(picture))), picture)


def test_running_mean():
    steps, values = report.running_mean([1, 2, 3, 4], [0.0, 2.0, 4.0, 9.0], 2)
    assert steps.tolist() == [2, 3, 4] and values.tolist() == [1.0, 3.0, 6.5]
    steps, values = report.running_mean([1, 2], [5.0, 6.0], 3)  # too short to smooth
    assert values.tolist() == [5.0, 6.0]


def drawn_lines(svg: str) -> dict[str, list[list[float]]]:
    """Colour -> points of the curves in a plot, y upwards."""
    found = {}
    for element in ElementTree.fromstring(svg).iter():
        style = dict(part.split(": ") for part in element.get("style", "").split("; ") if part)
        if element.get("clip-path") and style.get("stroke") in report.LINE_COLORS:
            words = element.get("d").replace("M", "").replace("L", "").split()
            points = [[float(x), -float(y)] for x, y in zip(words[::2], words[1::2])]
            found.setdefault(style["stroke"], points)
    return found


def test_curves_draw_a_line_for_each_run():
    curves = {"one": ([0, 5, 10], [0.0, 0.25, 1.0]), "two": ([0, 10], [1.0, 0.0])}
    svg = report.plot_curves(curves, "mIoU")
    lines = drawn_lines(svg)
    for number, (steps, values) in enumerate(curves.values()):
        (x, y) = np.array(lines[report.LINE_COLORS[number]]).T
        assert (x - x[0]) / (x[-1] - x[0]) == pytest.approx(np.array(steps) / 10, abs=1e-3)
        assert (y - y[0]) / abs(y[-1] - y[0]) == pytest.approx(
            np.array(values) - values[0], abs=1e-3
        )
    texts = {"".join(e.itertext()) for e in ElementTree.fromstring(svg).iter() if "text" in e.tag}
    assert {"one", "two", "mIoU", "iteration"} <= texts
    assert svg == report.plot_curves(curves, "mIoU")


@pytest.mark.parametrize(("last", "is_log"), [(0.0001, True), (0.0, False)])
def test_the_axis_is_logarithmic_where_all_values_are_above_zero(last, is_log):
    curves = {"loss": ([0, 1, 2], [1.0, 0.01, last])}
    points = drawn_lines(report.plot_curves(curves, "loss", is_log=True))[report.LINE_COLORS[0]]
    drops = -np.diff([y for _, y in points])
    assert (abs(drops[0] - drops[1]) < 1e-3) == is_log
