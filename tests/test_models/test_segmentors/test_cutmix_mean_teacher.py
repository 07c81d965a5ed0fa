# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""CutMix mean teacher: what every method must do, and its step against the reference step.

Known answers: docs/methods/cutmix_mean_teacher.md; that of the mask is in test_cutmix.py.
"""

from __future__ import annotations

import copy

import pytest
import torch
from method_tester import MethodTester
from recorded import (
    assert_state,
    check_step,
    expected_teacher,
    make_method,
    make_recorded,
)
from reference.cutmix_mean_teacher import cutmix_mean_teacher_step

from mmsemi.errors import ConfigError

MASK = dict(type="CutMix", num_boxes=1, area_range=(0.5, 0.5))


class TestCutMixMeanTeacher(MethodTester):
    name = "cutmix_mean_teacher"
    model = dict(type="CutMixMeanTeacher", mix=MASK, confidence_threshold=0.4)
    networks = ["student", "teacher"]
    predict_on = "teacher"
    unsup_losses = ("unsup.loss_consistency",)


@pytest.fixture
def build(segmentor_config, preprocessor_config):
    def make(**settings):
        settings = {"mix": MASK, **settings}
        return make_method(
            segmentor_config, preprocessor_config, type="CutMixMeanTeacher", **settings
        )

    return make


@pytest.mark.parametrize("pairing", ["halves", "permute"])
@pytest.mark.parametrize(
    ("settings", "strong"),
    [
        (dict(), False),
        (dict(), True),
        (dict(confidence_mode="pixel"), True),
        (dict(confidence_mode="pixel"), False),
        (dict(ignore_padding=False, unsup_weight=3.0), True),
    ],
)
def test_the_step_is_the_reference_step(build, settings, strong, pairing):
    """Loss, gradients, statistics, and the average behind the step with its buffers."""
    runner = build(confidence_threshold=0.5, **settings)
    model, reference = runner.model, copy.deepcopy(runner.model)
    recorded = make_recorded(pairing, strong=strong)
    expected = recorded.reference(
        cutmix_mean_teacher_step,
        reference.student,
        reference.teacher.module,
        settings=model.settings,
    )
    assert expected["unsup.loss_consistency"] > 0.001
    losses = check_step(runner, recorded, expected, reference)
    assert 0.1 < losses["unsup.confident"] < 0.9
    # The teacher of the reference is the old one still: nothing is averaged between the forwards.
    teacher = model.teacher.module
    assert_state(teacher, reference.teacher.module.state_dict())
    runner.optim_wrapper.optimizer.step()
    after = expected_teacher(model.student, teacher, 0.01, "ema")
    for hook in runner.hooks:
        hook.after_train_iter(runner, 0)
    assert_state(teacher, after)


def test_the_teacher_sees_the_unmixed_images_only(build):
    """Two train-mode forwards, one for each half; none of the labelled images."""
    recorded, model, seen = make_recorded("halves"), build().model, []
    teacher = model.teacher.module
    teacher.backbone.register_forward_pre_hook(lambda _, x: seen.append(x[0].clone()))
    recorded.loss(model)
    assert [len(x) for x in seen] == [2, 2]
    assert torch.equal(torch.cat(seen), recorded.batch.unlabeled.pixels_NCHW)
    assert teacher.training
    assert model.student.backbone.bn1.num_batches_tracked == 2


def test_without_a_confident_pixel_nothing_is_learned_from_unlabelled_images(build):
    losses = make_recorded("halves").loss(build(confidence_threshold=1.0).model)
    loss = losses["unsup.loss_consistency"]
    assert losses["unsup.confident"] == 0 and loss == 0 and loss.requires_grad


def test_labels_that_are_all_ignored_give_zero_with_a_graph(build):
    recorded = make_recorded("halves")
    recorded.batch.labeled.labels_NHW.fill_(255)
    loss = recorded.loss(build().model)["sup.decode.loss_ce"]
    assert loss == 0 and loss.requires_grad


def test_a_method_that_does_not_mix_is_refused(build):
    with pytest.raises(ConfigError, match=r"CutMixMeanTeacher\.mix=None"):
        build(mix=None)


def test_its_defaults_are_those_of_french_et_al(build):
    cfg = build().model.settings
    assert cfg.confidence_threshold == 0.97 and cfg.confidence_mode == "mean"
    assert cfg.unsup_weight == 1 and cfg.consistency == "squared_distance"
    assert cfg.momentum == 0.01 and cfg.rampup_iters == 0
