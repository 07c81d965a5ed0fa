# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""The line that says what is trained."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from mmseg.registry import DATASETS
from torch import nn

from mmsemi.engine.summary import describe_data, describe_networks, log_summary


class Method(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.data_preprocessor = nn.Identity()
        self.student = nn.Linear(999, 20)  # 0.02 M
        self.branches = nn.ModuleList([nn.Linear(99, 100), nn.Linear(299, 100)])
        self.loaded = {"student": (1, 2)}


def test_networks_have_their_parameters_and_origin():
    assert describe_networks(Method(), "weights.pth").split(", ") == [
        "student 0.02 M parameters (loaded 1 of 2 tensors from weights.pth)",
        "branches.0 0.01 M parameters",
        "branches.1 0.03 M parameters",
    ]


def test_data_has_its_sources_and_split(semi_config, val_config):
    dataset = DATASETS.build(semi_config)
    text = describe_data(dataset)
    assert "4 labeled, 8 unlabeled" in text and "RatioSplit" in text
    assert dataset.split_info["labeled_sha256"][:16] in text
    assert describe_data(DATASETS.build(val_config)) == "3 images"
    own = SimpleNamespace(source_ranges=dict(labeled=range(2), unlabeled=range(2, 5)))
    assert describe_data(own) == "2 labeled, 3 unlabeled images"


@pytest.mark.parametrize("is_wrapped", [False, True])
def test_one_line_names_the_method(semi_config, is_wrapped):
    lines: list[str] = []
    model = Method()
    if is_wrapped:
        model = nn.DataParallel(model)  # one of mmengine's model wrappers
    dataset = DATASETS.build(semi_config)
    runner = SimpleNamespace(
        model=model,
        _load_from=None,
        train_dataloader=SimpleNamespace(dataset=dataset),
        logger=SimpleNamespace(info=lines.append),
    )
    log_summary(runner)
    (line,) = lines
    assert line.startswith("training Method: student") and "8 unlabeled" in line
    assert "\n" not in line
