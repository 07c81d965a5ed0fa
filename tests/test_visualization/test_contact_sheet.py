# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""The contact sheet shows the pixels that the model gets."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from mmseg.registry import DATASETS

from mmsemi.errors import ConfigError
from mmsemi.visualization import contact_sheet


@pytest.fixture
def config(semi_config, preprocessor_config) -> dict:
    return dict(
        model=dict(type="CPS", data_preprocessor=preprocessor_config),
        train_dataloader=dict(
            batch_size=6,
            sampler=dict(type="MultiSourceSampler", num_per_source=dict(labeled=2, unlabeled=4)),
            dataset=semi_config,
        ),
    )


def columns(config: dict, rows: int = 8) -> list[list[contact_sheet.Column]]:
    dataset = DATASETS.build(copy.deepcopy(config["train_dataloader"]["dataset"]))
    data, preprocessor = contact_sheet.load_branches(config, dataset)
    return contact_sheet.sheet_columns(data, preprocessor, dataset.metainfo["palette"], rows)


def test_pictures_are_the_loaded_pixels(config):
    """Normalisation is undone exactly, and colours are in the right order."""
    dataset = DATASETS.build(copy.deepcopy(config["train_dataloader"]["dataset"]))
    data, preprocessor = contact_sheet.load_branches(config, dataset)
    sample = data["data_samples"]["sup"][0]
    source = sample.metainfo
    height, width = source["img_shape"]
    picture = contact_sheet.denormalize(data["inputs"]["sup"], preprocessor)[0]
    from mmsemi.datasets import Draw

    index = dataset.img_paths("labeled").index(source["img_path"])
    bgr = dataset[Draw(index, source["draw_seed"])]["inputs"].permute(1, 2, 0).numpy()
    assert np.array_equal(picture[:height, :width], bgr[..., ::-1])


def test_labels_are_painted_and_void_is_hatched():
    palette = [[10, 20, 30], [200, 0, 0]]
    labels = np.array([[0, 1, 255], [1, 255, 0]])
    painted = contact_sheet.paint_mask(labels, palette)
    assert painted[0, 0].tolist() == palette[0] and painted[1, 0].tolist() == palette[1]
    assert painted[0, 2].tolist() in ([235] * 3, [150] * 3)
    image = np.full((2, 3, 3), 100, np.uint8)
    both = contact_sheet.paint_mask(labels, palette, image)
    assert both[0, 2].tolist() == [100] * 3 and both[0, 1].tolist() == [150, 50, 50]


def test_columns_without_a_student_view(config):
    labeled, unlabeled = columns(config)
    assert [c.title for c in labeled] == ["labelled image", "mask", "both"]
    assert [c.title for c in unlabeled] == [
        "weak view (teacher)",
        "student's view",
        "valid pixels",
    ]
    assert set(unlabeled[1].captions) == {"the weak view itself"}
    assert [len(c.pictures) for c in unlabeled] == [4, 4, 4]
    assert [len(c.pictures) for c in columns(config, rows=3)[1]] == [3, 3, 3]


@pytest.mark.parametrize("views", [1, 2, 3])
def test_every_mixed_view_is_made_of_its_own_row(config, views):
    config["model"]["data_preprocessor"].update(mix=dict(type="CutMix"), num_student_views=views)
    unlabeled = {c.title: c for c in columns(config)[1]}
    numbers = [""] if views == 1 else [f" {v + 1}" for v in range(views)]
    titles = [f"mixed view (student){n}" for n in numbers]
    assert [t for t in unlabeled if t.startswith("mixed")] == titles
    for row in range(2):
        first, second = (unlabeled[f"weak view, {w}"].pictures[row] for w in ("first", "second"))
        for title in titles:
            mixed = unlabeled[title].pictures[row]
            own = (mixed == first).all(-1) | (mixed == second).all(-1)
            assert own.all() and not np.array_equal(mixed, first)
    if views > 1:
        assert not np.array_equal(
            unlabeled[titles[0]].pictures[0], unlabeled[titles[1]].pictures[0]
        )
        assert f"valid pixels {views}" in unlabeled


def test_strong_views_and_further_sources(config, semi_config):
    config["model"]["data_preprocessor"].update(
        strong=dict(type="StrongPhotometric"), num_student_views=2
    )
    config["train_dataloader"]["dataset"]["sources"] = dict(
        extra=copy.deepcopy(semi_config["labeled"])
    )
    config["train_dataloader"]["sampler"]["num_per_source"]["extra"] = 1
    config["train_dataloader"]["batch_size"] = 7
    groups = columns(config)
    assert [group[0].title for group in groups] == [
        "labelled image",
        "extra image",
        "weak view (teacher)",
    ]
    titles = [c.title for c in groups[-1]]
    assert titles == ["weak view (teacher)", "student's view 1", "student's view 2", "valid pixels"]


def test_a_stock_batch_and_a_preprocessor_inside_the_segmentor(config, semi_config):
    stock = dict(type="SegDataPreProcessor", size=(32, 32), mean=[1.0] * 3, std=[2.0] * 3)
    config["model"] = dict(type="EncoderDecoder", data_preprocessor=stock)
    config["train_dataloader"] = dict(
        batch_size=3,
        sampler=dict(type="InfiniteSampler", shuffle=True),
        dataset=semi_config["labeled"],
    )
    (group,) = columns(config)
    assert len(group[0].pictures) == 3 and group[1].title == "mask"
    config["model"] = dict(type="CPS", segmentor=dict(data_preprocessor=dict(stock)))
    assert columns(config)[0][0].title == "labelled image"
    config["model"] = dict(type="CPS")
    with pytest.raises(ConfigError, match="model.data_preprocessor"):
        columns(config)


def test_padding_is_shown_as_not_valid(config):
    config["model"]["data_preprocessor"]["size"] = (48, 64)
    valid = columns(config)[1][-1]
    assert all(caption == "33% valid" for caption in valid.captions)
    assert valid.pictures[0][0, 0].tolist() == contact_sheet._VALID.tolist()
    assert valid.pictures[0][40, 50].tolist() != contact_sheet._VALID.tolist()


def test_the_sheet_has_every_tile_and_is_repeatable(config):
    dataset = DATASETS.build(copy.deepcopy(config["train_dataloader"]["dataset"]))
    torch.manual_seed(0)
    first = contact_sheet.make_contact_sheet(config, dataset, "a" * 500, rows=2)
    torch.manual_seed(1)
    again = contact_sheet.make_contact_sheet(config, dataset, "a" * 500, rows=2)
    assert np.array_equal(first, again)
    tiles = 6 * (contact_sheet.MIN_TILE + contact_sheet.GAP)
    assert tiles < first.shape[1] < tiles + 60 and first.dtype == np.uint8
    assert first.shape[0] > 2 * contact_sheet.MIN_TILE
