# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Logs without a line for each parameter; everything else is heard."""

from __future__ import annotations

import warnings

import pytest
from mmengine.logging import MMLogger
from mmengine.model import BaseModule
from mmengine.optim import build_optim_wrapper
from mmseg.models.builder import build_loss
from torch import nn

from mmsemi import quiet


class Net(BaseModule):
    def __init__(self) -> None:
        super().__init__(init_cfg=dict(type="Normal", layer="Conv2d"))
        self.conv, self.norm = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)


@pytest.mark.parametrize(("level", "is_quiet"), [("INFO", True), ("DEBUG", False)])
def test_a_log_has_lines_for_parameters_at_debug_level_alone(tmp_path, level, is_quiet):
    path = tmp_path / "run.log"
    logger = MMLogger.get_instance(f"quiet_{level}", log_file=str(path), log_level=level)
    try:
        net = Net()
        net.init_weights()
        paramwise = dict(norm_decay_mult=0.0)
        optimizer = dict(type="SGD", lr=0.1, weight_decay=1.0)
        build_optim_wrapper(net, dict(optimizer=optimizer, paramwise_cfg=paramwise))
        logger.info("loss: 1.0")
    finally:
        MMLogger._instance_dict.pop(f"quiet_{level}")
    text = path.read_text()
    assert "loss: 1.0" in text
    assert ("conv.weight" not in text and "norm.weight" not in text) == is_quiet


def test_warnings_are_silenced_by_their_text_and_place():
    with warnings.catch_warnings(record=True) as heard:
        warnings.resetwarnings()
        quiet.apply()
        build_loss(dict(type="CrossEntropyLoss", avg_non_ignore=True))
        warnings.warn(quiet.WARNINGS[1][0])  # the same words from elsewhere
    assert len(heard) == 1


@pytest.mark.parametrize(("level", "is_short"), [("INFO", True), ("DEBUG", False)])
def test_the_line_of_a_validation_has_no_class(level, is_short, tmp_path):
    path = tmp_path / "run.log"
    logger = MMLogger.get_instance(f"classes_{level}", log_file=str(path), log_level=level)
    line = "Iter(val) [2/2]    mIoU: 50.0  IoU.a (b): 40.0  student/IoU.a (b): 4.0  student/mIoU: 5.0  time: 0.1"
    try:
        logger.info(line)
        logger.info("a line of someone else's  IoU.a: 3.0")
        logger.info("Iter(val) [2/2]    mIoU: 60.0  IoU.cat: 60.0")
    finally:
        MMLogger._instance_dict.pop(f"classes_{level}")
    first, second, third = (one.split("INFO - ")[-1] for one in path.read_text().splitlines())
    assert second.endswith("IoU.a: 3.0")
    if is_short:
        assert first == "Iter(val) [2/2]    mIoU: 50.0  student/mIoU: 5.0  time: 0.1"
        assert third == "Iter(val) [2/2]    mIoU: 60.0"
    else:
        assert first == line and third.endswith("IoU.cat: 60.0")
