# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""CutMix mean teacher: what every method must do, and its step against one written out by hand.

Numbers of known answers and sections are those of methods/mean_teacher.md.
"""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hand_step import (
    assert_same_step,
    assert_state,
    expected_teacher,
    ground_truth,
    logits,
    make_batch,
    make_method,
    mix,
    total,
)
from method_tester import MethodTester

from mmsemi.models.augment import boxes_from_uniforms, masks_from_boxes

MASK = dict(type="CutMix", num_boxes=1, area_range=(0.5, 0.5))


class TestCutMixMeanTeacher(MethodTester):
    name = "cutmix_mean_teacher"
    model = dict(type="CutMixMeanTeacher", semi_train_cfg=dict(confidence_threshold=0.4))
    preprocessor = dict(mix=MASK)
    networks = ["student", "teacher"]
    predict_on = "teacher"
    unsup_losses = ("unsup.loss_consistency",)


@pytest.fixture
def build(segmentor_config, preprocessor_config):
    def make(**settings):
        return make_method(
            segmentor_config, preprocessor_config, type="CutMixMeanTeacher", semi_train_cfg=settings
        )

    return make


def step_by_hand(model, inputs, samples, threshold, per_pixel=False):
    """Section 2b, points 2 to 6, and the loss of section 3."""
    student, teacher, recipe = model.student, model.teacher, inputs["mix"]
    supervised = F.cross_entropy(
        logits(student, inputs["sup"]), ground_truth(samples), ignore_index=255
    )
    with torch.no_grad():
        both = [logits(teacher, part) for part in inputs["unsup_teacher"].split(2)]
        target = mix(recipe, torch.cat(both), torch.cat(both)).softmax(1)
    prediction = logits(student, inputs["unsup_student"]).softmax(1)
    valid = mix(recipe, inputs["valid"].double(), inputs["valid"].double())
    confident = (target.amax(1) >= threshold).double()
    kappa = confident if per_pixel else confident.mean()
    distance = (prediction - target).pow(2).sum(1)
    return supervised, (distance * valid * kappa).sum() / distance.numel(), confident.mean()


@pytest.mark.parametrize("mode", ["mean", "pixel"])
@pytest.mark.parametrize("strong", [False, True])
def test_step_equals_the_one_written_out(build, mode, strong):
    """Loss, gradients, statistics, and the average behind the step with its buffers."""
    inputs, samples = make_batch("halves", strong=strong)
    runner = build(confidence_threshold=0.6, confidence_mode=mode)
    model, reference = runner.model, copy.deepcopy(runner.model)
    runner.start_step()
    losses = model.loss(inputs, samples)
    supervised, consistency, share = step_by_hand(
        reference, inputs, samples, 0.6, per_pixel=mode == "pixel"
    )
    assert 0.1 < share < 0.9
    torch.testing.assert_close(losses["unsup.confident"].double(), share, rtol=1e-6, atol=0)
    torch.testing.assert_close(losses["sup.decode.loss_ce"], supervised)
    torch.testing.assert_close(
        losses["unsup.loss_consistency"].double(), consistency, rtol=1e-6, atol=0
    )
    # The teacher of the reference is the old one still: nothing is averaged between the forwards.
    assert_state(model.teacher, reference.teacher.state_dict())
    total(losses).backward()
    (supervised + consistency).backward()
    assert_same_step(model, reference)
    runner.optim_wrapper.optimizer.step()
    expected = expected_teacher(model.student, model.teacher, 0.01, "ema")
    for hook in runner.hooks:
        hook.after_train_iter(runner, 0)
    assert_state(model.teacher, expected)


def test_the_teacher_sees_the_unmixed_images_only(build):
    """Two train-mode forwards, u0 and u1; none of the labelled images (section 2b)."""
    inputs, samples = make_batch("halves")
    runner, seen = build(), []
    runner.model.teacher.backbone.register_forward_pre_hook(lambda _, x: seen.append(x[0].clone()))
    runner.model.loss(inputs, samples)
    assert [len(x) for x in seen] == [2, 2]
    assert torch.equal(torch.cat(seen), inputs["unsup_teacher"])
    assert runner.model.teacher.training
    assert runner.model.student.backbone.bn1.num_batches_tracked == 2


def test_without_a_confident_pixel_nothing_is_learned_from_unlabelled_images(build):
    """Trap T6: kappa is 0 early in training."""
    runner = build(confidence_threshold=1.1)
    loss = runner.model.loss(*make_batch("halves"))["unsup.loss_consistency"]
    assert loss == 0 and loss.requires_grad


def test_labels_that_are_all_ignored_give_zero_with_a_graph(build):
    inputs, samples = make_batch("halves")
    for sample in samples["sup"]:
        sample.gt_sem_seg.data.fill_(255)
    loss = build().model.loss(inputs, samples)["sup.decode.loss_ce"]
    assert loss == 0 and loss.requires_grad


def test_mask_of_french_et_al():
    """K8: numpy's RandomState(0), one 32x32 mask, one box of area 0.5."""
    random = np.random.RandomState(0)
    area = random.uniform(0.5, 0.5, (1, 1))
    aspect = random.uniform(0, 1, (1, 1))
    position = random.uniform(0, 1, (1, 1, 2))
    boxes = boxes_from_uniforms(*map(torch.from_numpy, (area, aspect, position)), (32, 32))
    assert boxes.tolist() == [[[8, 3, 27, 29]]]
    assert masks_from_boxes(boxes, (32, 32)).sum() == 494


def test_a_batch_that_is_not_mixed_is_refused(build):
    with pytest.raises(ValueError, match="not mixed: set model.data_preprocessor.mix=dict.type='C"):
        build().model.loss(*make_batch())


def test_its_defaults_are_those_of_french_et_al(build):
    settings = build().model.semi_train_cfg
    assert settings["confidence_threshold"] == 0.97 and settings["confidence_mode"] == "mean"
    assert settings["unsup_weight"] == 1 and settings["consistency"] == "squared_distance"
    assert settings["momentum"] == 0.01 and settings["rampup_iters"] == 0
