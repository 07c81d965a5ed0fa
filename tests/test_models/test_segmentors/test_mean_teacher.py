# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Mean teacher: what every method must do, and its step against one written out by hand.

Numbers of known answers and sections are those of methods/mean_teacher.md.
"""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from hand_step import (
    assert_same_step,
    assert_state,
    expected_teacher,
    gradients,
    ground_truth,
    logits,
    make_batch,
    make_method,
    mix,
    total,
)
from method_tester import MethodTester
from mmseg.registry import MODELS

from mmsemi.models.losses import sigmoid_rampup


class TestMeanTeacher(MethodTester):
    name = "mean_teacher"
    model = dict(type="MeanTeacher", semi_train_cfg=dict(rampup_iters=6))
    networks = ["student", "teacher"]
    unsup_losses = ("unsup.loss_consistency",)


@pytest.fixture
def build(segmentor_config, preprocessor_config):
    def make(**settings):
        return make_method(
            segmentor_config, preprocessor_config, type="MeanTeacher", semi_train_cfg=settings
        )

    return make


# --- The step (section 2a) ------------------------------------------------------------------------


def step_by_hand(model, inputs, samples, counted=None):
    """Section 2a in its own order; ``counted`` are the pixels that count, default all."""
    student, teacher = model.student, model.teacher
    sup_s = logits(student, inputs["sup"])
    with torch.no_grad():
        sup_t = logits(teacher, inputs["sup"])
        for old, new in zip(teacher.parameters(), student.parameters()):
            old.copy_(0.99 * old + 0.01 * new)
    unsup_s = logits(student, inputs["unsup_student"])
    with torch.no_grad():
        recipe = inputs["mix"]
        if recipe is None:
            unsup_t = logits(teacher, inputs["unsup_teacher"])
        else:  # u0 and u1 are forwarded one after the other
            both = [logits(teacher, part) for part in inputs["unsup_teacher"].split(2)]
            unsup_t = mix(recipe, torch.cat(both), torch.cat(both))
    difference = torch.cat([sup_s, unsup_s]).softmax(1) - torch.cat([sup_t, unsup_t]).softmax(1)
    square = difference**2 if counted is None else difference**2 * counted[:, None]
    supervised = F.cross_entropy(sup_s, ground_truth(samples), ignore_index=255)
    return supervised, 100 * square.sum() / difference.numel()


@pytest.mark.parametrize("pairing", [None, "halves"])
@pytest.mark.parametrize("strong", [False, True])
def test_step_equals_the_one_written_out(build, pairing, strong):
    inputs, samples = make_batch(pairing, strong=strong)
    runner = build()
    model, reference = runner.model, copy.deepcopy(runner.model)
    runner.start_step()
    losses = model.loss(inputs, samples)
    supervised, consistency = step_by_hand(reference, inputs, samples)
    torch.testing.assert_close(losses["sup.decode.loss_ce"], supervised)
    assert consistency > 0.1
    torch.testing.assert_close(
        losses["unsup.loss_consistency"].double(), consistency, rtol=1e-6, atol=0
    )
    total(losses).backward()
    (supervised + consistency).backward()
    assert_same_step(model, reference)
    assert_state(model.teacher, reference.teacher.state_dict())
    assert all(p.grad is None for p in model.teacher.parameters())


def test_each_network_normalises_each_stream_by_itself(build):
    """Two forwards each, the mixed form one more for the teacher; section 2a: BN."""
    for pairing, teacher_passes in ((None, 2), ("halves", 3)):
        runner = build()
        runner.start_step()
        runner.model.loss(*make_batch(pairing))
        assert runner.model.student.backbone.bn1.num_batches_tracked == 2
        assert runner.model.teacher.backbone.bn1.num_batches_tracked == teacher_passes
        assert runner.model.teacher.training


@pytest.mark.parametrize("pairing", [None, "halves"])
def test_padding_and_void_count_unless_told_otherwise(build, pairing):
    inputs, samples = make_batch(pairing)
    labeled = ground_truth(samples) != 255
    valid = inputs["valid"]
    if pairing:
        valid = mix(inputs["mix"], valid.double(), valid.double()).bool()
    counted = torch.cat([labeled, valid])
    assert not counted.all()
    found = {}
    for ignore, mask in ((False, None), (True, counted)):
        runner = build(ignore_padding=ignore)
        reference = copy.deepcopy(runner.model)
        runner.start_step()
        found[ignore] = runner.model.loss(inputs, samples)["unsup.loss_consistency"]
        want = step_by_hand(reference, inputs, samples, mask)[1]
        torch.testing.assert_close(found[ignore].double(), want, rtol=1e-6, atol=0)
    assert found[True] < found[False]


def test_unlabelled_images_alone(build):
    inputs, samples = make_batch()
    runner = build(consistency_on_labeled=False, ema_when="after", unsup_weight=1.0)
    student, teacher = copy.deepcopy(runner.model.student), copy.deepcopy(runner.model.teacher)
    loss = runner.model.loss(inputs, samples)["unsup.loss_consistency"]
    pairs = (logits(student, inputs["unsup_student"]), logits(teacher, inputs["unsup_teacher"]))
    want = (pairs[0].softmax(1) - pairs[1].softmax(1)).square().mean()
    torch.testing.assert_close(loss.double(), want, rtol=1e-6, atol=0)
    assert runner.model.teacher.backbone.bn1.num_batches_tracked == 1


def test_the_teacher_in_eval_mode_keeps_its_statistics_to_the_hook(build):
    runner = build(teacher_mode="eval", buffers="ema", ema_when="after")
    model = runner.model
    before = {key: value.clone() for key, value in model.teacher.named_buffers()}
    model.loss(*make_batch())
    assert not any(module.training for module in model.teacher.modules())
    assert all(torch.equal(value, before[key]) for key, value in model.teacher.named_buffers())
    expected = expected_teacher(model.student, model.teacher, 0.01, "ema")
    for hook in runner.hooks:
        hook.after_train_iter(runner, 0)
    assert_state(model.teacher, expected)


def test_labels_that_are_all_ignored_give_zero_with_a_graph(build):
    inputs, samples = make_batch()
    for sample in samples["sup"]:
        sample.gt_sem_seg.data.fill_(255)
    runner = build()
    runner.start_step()
    losses = runner.model.loss(inputs, samples)
    assert losses["sup.decode.loss_ce"] == 0 and losses["sup.decode.loss_ce"].requires_grad
    total(losses).backward()
    assert all(gradient.isfinite().all() for gradient in gradients(runner.model).values())


def test_the_weight_follows_the_ramp_up(build):
    values = []
    for settings in (dict(), dict(rampup_iters=10)):
        runner = build(**settings)
        runner.message_hub.update_info("iter", 5)
        runner.start_step()
        values.append(runner.model.loss(*make_batch())["unsup.loss_consistency"])
    torch.testing.assert_close(values[1], values[0] * 0.286505, rtol=1e-5, atol=0)


def test_agreement_is_a_share(build):
    runner = build()
    runner.start_step()
    inputs, samples = make_batch(strong=False)
    runner.model.student.load_state_dict(runner.model.teacher.state_dict())
    losses = runner.model.loss(inputs, samples)
    assert losses["unsup.agree"] == 1 and losses["unsup.loss_consistency"] < 1e-6


# --- Known answers ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        ("mid", [(1, 1), (1, 1.01), (1.01, 1.0299), (1.0299, 1.059601)]),
        ("after", [(1, 1), (1.01, 1.01), (1.0299, 1.0299)]),
    ],
)
def test_weights_of_the_teacher_in_each_pass(build, when, expected, monkeypatch):
    """K3: the student is 1, 2, 3, 4 before iterations 0 to 3; decay 0.99."""
    runner = build(ema_when=when)
    parameter, averaged = (
        net.decode_head.conv_seg.bias for net in (runner.model.student, runner.model.teacher)
    )
    seen = []
    teach = runner.model.teacher.decode_head.register_forward_pre_hook(
        lambda *_: seen.append(averaged[0].item())
    )
    with torch.no_grad():
        averaged.fill_(1.0)
    inputs, samples = make_batch()
    for iteration in range(len(expected)):
        with torch.no_grad():
            parameter.fill_(1.0 + iteration)
        if when == "after" and iteration:  # the student of this iteration is that of the last step
            runner.hooks[0].after_train_iter(runner, iteration)
        runner.start_step()
        runner.model.loss(inputs, samples)
    teach.remove()
    pairs = list(zip(seen[::2], seen[1::2]))
    assert pairs == [pytest.approx(pair, abs=1e-9) for pair in expected]


def test_running_mean_of_the_teacher(build):
    """K4: momentum 0.1, two passes with batch means 1 and 3, whatever the student's are."""
    runner = build()
    teacher, student = runner.model.teacher, runner.model.student
    with torch.no_grad():
        for net, gain in ((teacher, 1.0), (student, 50.0)):
            net.backbone.conv1.weight.zero_()
            net.backbone.conv1.weight[:, 0, 3, 3] = gain
    inputs, samples = make_batch(strong=False)
    inputs["sup"] = torch.ones_like(inputs["sup"])
    inputs["unsup_teacher"] = inputs["unsup_student"] = 3 * torch.ones(4, 3, 16, 16).double()
    teacher.backbone.bn1.running_mean.zero_()
    runner.hooks[0].momentum = 1e-12  # the weights of the teacher stay
    runner.start_step()
    runner.model.loss(inputs, samples)
    # 7x7 kernel with only its centre set, stride 2: every output is one input pixel.
    assert teacher.backbone.bn1.running_mean.tolist() == pytest.approx([0.39] * 4, abs=1e-6)


def test_sigmoid_ramp_up():
    """K5, the sigmoid form."""
    found = [sigmoid_rampup(step, 10) for step in (0, 5, 10, 20)]
    assert found == pytest.approx([0.006738, 0.286505, 1, 1], abs=5e-7)


# --- Messages -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (dict(teacher_mode="eval"), "teacher_mode='eval' with buffers='keep' leaves the teacher's"),
        (dict(consistency="l2"), "MeanTeacher.semi_train_cfg.consistency='l2' is none of 'mse', "),
        (dict(confidence_mode="max"), "confidence_mode='max' is none of 'mean', 'pixel'"),
        (dict(teacher_mode="test"), "teacher_mode='test' is none of 'train', 'eval'"),
        (dict(ema_when="before"), "ema_when='before' is none of 'mid', 'after'"),
    ],
)
def test_settings_that_do_not_work_are_refused(build, settings, message):
    with pytest.raises(ValueError, match=message):
        build(**settings)


def test_an_own_hook_cannot_do_what_mid_asks_for(segmentor_config, preprocessor_config):
    model = MODELS.build(
        dict(type="MeanTeacher", segmentor=segmentor_config, data_preprocessor=preprocessor_config)
    ).double()
    model.teacher_hook_attached = True  # as MeanTeacherHook(when='after') leaves it
    with pytest.raises(RuntimeError, match="ema_when='mid' needs MeanTeacherHook.when='mid'"):
        model.loss(*make_batch())


def test_several_student_views_are_refused(segmentor_config, preprocessor_config):
    preprocessor_config.update(num_student_views=2, strong=dict(type="StrongPhotometric"))
    with pytest.raises(ValueError, match="MeanTeacher takes one student view"):
        make_method(segmentor_config, preprocessor_config, type="MeanTeacher")
