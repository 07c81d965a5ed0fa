# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""The void value is that of the decode head; whatever has another one is named."""

from __future__ import annotations

import copy
import logging

import pytest
from mmseg.evaluation import IoUMetric
from mmseg.registry import DATASETS, MODELS

from mmsemi.datasets.checks import check_at_start, check_config, start
from mmsemi.datasets.checks.void_faults import void_of_config, void_of_model
from mmsemi.errors import DataError


@pytest.fixture
def parts(semi_config, val_config, segmentor_config, preprocessor_config) -> dict:
    """A model, a training set and a validation set that all say 250."""
    segmentor_config["decode_head"]["ignore_index"] = 250
    segmentor_config["auxiliary_head"] = copy.deepcopy(segmentor_config["decode_head"])
    preprocessor_config["seg_pad_val"] = 250
    semi_config["labeled"]["ignore_index"] = val_config["ignore_index"] = 250
    model = dict(
        type="MeanTeacher", segmentor=segmentor_config, data_preprocessor=preprocessor_config
    )
    return dict(model=model, train=semi_config, val=val_config)


def check(parts: dict, *metrics: object) -> None:
    train, val = (DATASETS.build(copy.deepcopy(parts[key])) for key in ("train", "val"))
    check_at_start(train, val, MODELS.build(copy.deepcopy(parts["model"])), metrics)


def test_one_value_everywhere_is_fine(parts):
    check(parts)


DICE = [dict(type="CrossEntropyLoss"), dict(type="DiceLoss", ignore_index=255)]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (
            lambda p: p["train"]["labeled"].update(ignore_index=255),
            "dataset.labeled.ignore_index=255",
        ),
        (lambda p: p["val"].update(ignore_index=255), "val_dataloader.dataset.ignore_index=255"),
        (lambda p: p["model"]["data_preprocessor"].pop("seg_pad_val"), "seg_pad_val=255"),
        (
            lambda p: p["model"]["segmentor"]["auxiliary_head"].update(ignore_index=255),
            "auxiliary_head.ignore_index=255",
        ),
        (
            lambda p: p["model"]["segmentor"]["decode_head"].update(loss_decode=DICE),
            "decode_head.loss_decode.ignore_index=255",
        ),
        (
            lambda p: p["train"]["labeled"]["pipeline"].insert(2, dict(type="AddImageLabels")),
            "AddImageLabels.ignore_index=255",
        ),
        (
            lambda p: p["train"].update(
                sources=dict(gt={**p["train"]["labeled"], "ignore_index": 251})
            ),
            "dataset.gt.ignore_index=251",
        ),
    ],
)
def test_what_contradicts_it_is_named(parts, change, named):
    change(parts)
    with pytest.raises(DataError, match=f"decode_head.ignore_index=250 .*{named}"):
        check(parts)


def test_a_metric_of_another_value_is_a_warning(parts, monkeypatch):
    told = []
    monkeypatch.setattr(start, "print_log", lambda text, _, level: told.append((level, text)))
    check(parts, IoUMetric(), IoUMetric(ignore_index=250))
    ((level, text),) = [one for one in told if "void-value-differs" in one[1]]
    assert level == logging.WARNING and "val_evaluator.IoUMetric.ignore_index=255" in text


def test_the_tool_reads_the_same_from_the_config(parts):
    def codes() -> set[str]:
        config = dict(
            model=parts["model"],
            train_dataloader=dict(dataset=copy.deepcopy(parts["train"])),
            val_dataloader=dict(dataset=copy.deepcopy(parts["val"])),
        )
        return {one.code for one in check_config(config).findings}

    model = MODELS.build(copy.deepcopy(parts["model"]))
    assert set(void_of_config(parts["model"])) <= set(void_of_model(model))
    assert "void-value-differs" not in codes()
    parts["model"]["segmentor"]["decode_head"].pop("ignore_index")
    assert "void-value-differs" in codes()
