# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""What masks store and what is said of them: known answers; label tables and palettes."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from mmsemi.datasets.label_table import LabelTable
from mmsemi.errors import ConfigError, DataError
from mmsemi.own_data.codes import Codes, find_meaning, parse_classes
from mmsemi.visualization.palette import _as_seen, class_palette, overlay, transparent_classes


def grey(*values: int) -> Codes:
    return Codes(values=Counter(dict.fromkeys(values, 10)), kinds=Counter({"L PNG": 1}))


@pytest.mark.parametrize(
    ("values", "classes", "void", "table"),
    [
        ((0, 1, 2), "a,b,c", "", None),
        ((0, 2, 255), "a,b,c", "", None),  # 'b' has no mask
        ((0, 255), "a,b", "", {"a": 0, "b": 255}),
        ((0, 255), "b", "", {"background": 0, "b": 255}),
        ((0, 128, 255), "a,b,c", "", {"a": 0, "b": 128, "c": 255}),
        ((1, 2, 255), "a,b", "", {"a": 1, "b": 2}),
        ((0, 1, 2), "a,b", "0", {"a": 1, "b": 2}),
        ((0, 1, 7), "a,b", "7", {"a": 0, "b": 1}),
        ((0, 1, 5), "a=0,b=1+5", "", {"a": 0, "b": [1, 5]}),
        ((0, 1), "a=0,b=1", "", None),
    ],
)
def test_values_and_classes(values, classes, void, table):
    assert find_meaning(grey(*values), parse_classes(classes, void)).label_table == table


def test_pixels_of_each_class_and_void():
    meaning = find_meaning(grey(1, 2, 255), parse_classes("a,b"))
    assert meaning.void == (255,) and meaning.pixels == [10, 10]


@pytest.mark.parametrize("values", [(0,), (0, 1, 2, 3), (0, 100)])
def test_nothing_is_guessed(values):
    with pytest.raises(DataError, match=str(values[-1])):
        find_meaning(grey(*values), parse_classes("a,b,c"))


@pytest.mark.parametrize(
    "text",
    ["64 128 64\tsky\n0 0 1 traffic light\n", "name,r,g,b\nsky,64,128,64\ntraffic light,0,0,1\n",
     "# label:color_rgb:parts:actions\nsky:64,128,64::\ntraffic light:0,0,1::\n"],
)  # fmt: skip
def test_classes_from_a_file(tmp_path, text):
    path = tmp_path / "classes.txt"
    path.write_text(text)
    wish = parse_classes(str(path))
    assert wish.classes == ("sky", "traffic light")
    assert wish.codes == {"sky": ["#408040"], "traffic light": ["#000001"]}
    path.write_text("sky\ntraffic light\n")
    assert parse_classes(str(path)).codes == {}


def test_a_label_table_maps_values_and_colours():
    table = LabelTable({"a": 0, "b": [7, 300]}, ("a", "b"), void=[9])
    stored = np.array([[0, 7, 300, 9]], np.uint16)
    assert table.apply(stored, "m").tolist() == [[0, 1, 1, 255]]
    assert table.apply(stored, "m").dtype == np.uint8 and table.map_of_values() is None
    with pytest.raises(DataError, match="8"):
        table.apply(stored + 1, "m")
    rest = LabelTable({"a": 0, "b": "*"}, ("a", "b"))
    assert rest.apply(stored, "m").tolist() == [[0, 1, 1, 1]]
    assert rest.map_of_values()[255] == 1 and len(rest.map_of_values()) == 256
    colours = LabelTable({"a": 0, "b": "#FF0010"}, ("a", "b"))
    assert colours.is_colour
    row = np.array([[[0, 0, 0], [255, 0, 16]]], np.uint8)
    assert colours.apply(row, "m").tolist() == [[0, 1]]
    with pytest.raises(DataError, match="#ff0000"):
        colours.apply(row * np.array([1, 1, 0], np.uint8), "m")


@pytest.mark.parametrize(
    ("codes", "told"),
    [
        ({"a": 0}, "b"),
        ({"a": 0, "b": 0}, "two classes"),
        ({"a": 0, "b": 1, "bb": 2}, "bb"),
        ({"a": 0, "b": 65536}, "65536"),
        ({"a": "#000000", "b": 300}, "300"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(codes, told):
    with pytest.raises(ConfigError, match=told):
        LabelTable(codes, ("a", "b"))


def test_colours_of_classes_are_distinct_and_the_background_is_transparent():
    classes = ["background", *(f"c{number}" for number in range(40))]
    palette = class_palette(classes)
    assert palette[0] == [0, 0, 0] and palette[1] == [230, 159, 0]
    assert len({tuple(colour) for colour in palette}) == 41
    seen_VNC = _as_seen(np.array(palette))
    apart_VNN = np.linalg.norm(seen_VNC[:, :, None] - seen_VNC[:, None], axis=-1)
    for count, least in ((9, 15), (41, 11)):  # CIELAB; 2.3 is just seen
        rows, columns = np.triu_indices(count, 1)
        assert apart_VNN[:, rows, columns].min() > least
    assert len(class_palette([f"c{number}" for number in range(600)])) == 600
    assert transparent_classes(classes) == [0]
    image = np.full((1, 3, 3), 100, np.uint8)
    shown = overlay(np.array([[0, 1, 255]]), image, palette, [0])
    assert shown.tolist() == [[[100] * 3, [165, 130, 50], [100] * 3]]
