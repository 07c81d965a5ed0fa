# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""The contact sheet shows the pixels that the model gets."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from mmseg.registry import DATASETS, MODELS

from mmsemi.datasets import Draw
from mmsemi.errors import ConfigError
from mmsemi.visualization import contact_sheet


@pytest.fixture
def config(semi_config, preprocessor_config) -> dict:
    return dict(
        model=dict(type="FixMatch", data_preprocessor=preprocessor_config),
        train_dataloader=dict(
            sampler=dict(type="MultiSourceSampler", num_per_source=dict(labeled=2, unlabeled=4)),
            dataset=semi_config,
        ),
    )


def build(config: dict):
    return DATASETS.build(copy.deepcopy(config["train_dataloader"]["dataset"]))


def columns(config: dict, rows: int = 8) -> list[list[contact_sheet.Column]]:
    dataset = build(config)
    return contact_sheet.sheet_columns(config, dataset, dataset.metainfo["palette"], rows)


def titles(group: list[contact_sheet.Column]) -> list[str]:
    return [column.title for column in group]


def test_pictures_are_the_loaded_pixels(config):
    """Normalisation is undone exactly, and colours are in the right order."""
    dataset = build(config)
    batch, _, preprocessor = contact_sheet.load_batch(config, dataset)
    source = batch.labeled.samples[0].metainfo
    height, width = source["img_shape"]
    picture = contact_sheet.denormalize(batch.labeled.pixels_NCHW, preprocessor)[0]
    index = dataset.img_paths("labeled").index(source["img_path"])
    bgr = dataset[Draw(index, source["draw_seed"])]["inputs"].permute(1, 2, 0).numpy()
    assert np.array_equal(picture[:height, :width], bgr[..., ::-1])
    assert np.array_equal(columns(config)[0][0].pictures[0], picture)


def test_labels_are_painted_and_void_is_hatched():
    palette = [[10, 20, 30], [200, 0, 0]]
    labels = np.array([[0, 1, 255], [1, 255, 0]])
    painted = contact_sheet.paint_mask(labels, palette)
    assert painted[0, 0].tolist() == palette[0] and painted[1, 0].tolist() == palette[1]
    assert painted[0, 2].tolist() in ([235] * 3, [150] * 3)
    image = np.full((2, 3, 3), 100, np.uint8)
    both = contact_sheet.overlay(labels, image, palette)
    assert both[0, 2].tolist() == [100] * 3 and both[0, 1].tolist() == [150, 50, 50]


def test_columns_without_a_view_of_the_student(config):
    labeled, unlabeled = columns(config)
    assert titles(labeled) == ["labelled image", "mask", "both"]
    assert titles(unlabeled) == ["weak view", "student's view", "valid pixels"]
    assert np.array_equal(unlabeled[0].pictures, unlabeled[1].pictures)
    assert [len(c.pictures) for c in unlabeled] == [4, 4, 4]
    assert [len(c.pictures) for c in columns(config, rows=3)[1]] == [3, 3, 3]


@pytest.mark.parametrize("views", [1, 2, 3])
def test_every_mixed_view_is_made_of_its_own_row(config, views):
    config["model"].update(mix=dict(type="CutMix"), num_views=views)
    unlabeled = {c.title: c for c in columns(config)[1]}
    numbers = [""] if views == 1 else [f" {v + 1}" for v in range(views)]
    mixed = [unlabeled[f"mixed view{number}"].pictures for number in numbers]
    assert len(unlabeled) == 2 + 2 * views
    for row in range(2):
        first, second = (unlabeled[w].pictures[row] for w in ("weak view", "pasted on it"))
        for view in mixed:
            own = (view[row] == first).all(-1) | (view[row] == second).all(-1)
            assert own.all() and not np.array_equal(view[row], first)
    if views > 1:
        assert not np.array_equal(mixed[0][0], mixed[1][0])
        assert f"valid pixels {views}" in unlabeled


def test_the_views_are_those_of_the_step(config, segmentor_config):
    """The batch's generator is drawn from in the order of the method's step."""
    config["model"] |= dict(
        strong=dict(type="StrongPhotometric"), mix=dict(type="SingleBoxCutMix"), num_views=2
    )
    model = MODELS.build({**config["model"], "segmentor": segmentor_config})
    batch, _, preprocessor = contact_sheet.load_batch(config, build(config))
    expected, recipe = model.mixed_views(batch, 2)
    again, _, _ = contact_sheet.load_batch(config, build(config))
    views = contact_sheet.draw_views(config["model"], again, preprocessor)
    assert torch.equal(torch.cat([view.pixels_BCHW for view in views]), expected)
    assert torch.equal(torch.cat([view.recipe.first for view in views]), recipe.first)


def test_mixes_that_need_a_network(config):
    """By classes: shown unmixed, which is said; by labelled regions: as for an unsure network."""
    config["model"].update(mix=dict(type="ClassMix"))
    unlabeled = columns(config)[1]
    assert titles(unlabeled) == ["weak view", "student's view", "valid pixels"]
    assert all(unlabeled[1].captions)
    config["model"].update(mix=dict(type="LabelPaste"))
    unlabeled = columns(config)[1]
    assert titles(unlabeled) == ["weak view", "pasted on it", "mixed view", "valid pixels"]
    assert not np.array_equal(unlabeled[0].pictures, unlabeled[2].pictures)


def test_strong_views_and_further_sources(config, semi_config):
    config["model"].update(strong=dict(type="StrongPhotometric"), num_views=2)
    config["train_dataloader"]["dataset"]["sources"] = dict(
        extra=copy.deepcopy(semi_config["labeled"])
    )
    config["train_dataloader"]["sampler"]["num_per_source"]["extra"] = 1
    groups = columns(config)
    assert [group[0].title for group in groups] == ["labelled image", "extra image", "weak view"]
    assert titles(groups[-1]) == [
        "weak view",
        "student's view 1",
        "student's view 2",
        "valid pixels",
    ]
    assert len(groups[1]) == 3 and len(groups[1][0].pictures) == 1


def test_a_method_without_mix_and_one_without_views(config):
    config["model"].update(type="AdvSemiSeg", strong=dict(type="StrongPhotometric"))
    assert titles(columns(config)[1]) == ["weak view", "student's view", "valid pixels"]
    config["model"] = dict(
        type="Supervised", data_preprocessor=config["model"]["data_preprocessor"]
    )
    assert titles(columns(config)[1]) == ["weak view", "student's view", "valid pixels"]
    config["model"]["type"] = "FixMatch"
    config["model"]["num_views"] = 0
    with pytest.raises(ConfigError, match="num_views=0"):
        columns(config)


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


def test_the_crop_size_is_the_size_of_the_batch(config, semi_config):
    config["model"]["data_preprocessor"]["size"] = None
    for source in ("labeled", "unlabeled"):
        for step in semi_config[source]["pipeline"]:
            step.pop("crop_size", None)
    config["train_dataloader"]["dataset"]["crop_size"] = (24, 40)
    assert {p.shape for group in columns(config) for c in group for p in c.pictures} == {
        (24, 40, 3)
    }


def test_padding_is_shown_as_not_valid(config):
    config["model"]["data_preprocessor"]["size"] = (48, 64)
    valid = columns(config)[1][-1]
    assert all(caption == "33% valid" for caption in valid.captions)
    assert valid.pictures[0][0, 0].tolist() == contact_sheet._VALID.tolist()
    assert valid.pictures[0][40, 50].tolist() != contact_sheet._VALID.tolist()


def test_the_sheet_has_every_tile_and_is_repeatable(config):
    dataset = build(config)
    torch.manual_seed(0)
    first = contact_sheet.make_contact_sheet(config, dataset, "a" * 500, rows=2)
    torch.manual_seed(1)
    again = contact_sheet.make_contact_sheet(config, dataset, "a" * 500, rows=2)
    assert np.array_equal(first, again)
    tiles = 6 * (contact_sheet.MIN_TILE + contact_sheet.GAP)
    assert tiles < first.shape[1] < tiles + 60 and first.dtype == np.uint8
    assert first.shape[0] > 2 * contact_sheet.MIN_TILE
