# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Mean teacher: what every method must do, and its step against the reference step.

Known answers: docs/methods/mean_teacher.md.
"""

from __future__ import annotations

import copy

import pytest
import torch
from method_tester import MethodTester
from mmseg.registry import MODELS
from recorded import (
    assert_state,
    check_step,
    expected_teacher,
    gradients,
    make_images,
    make_method,
    make_recorded,
    total,
)
from reference.mean_teacher import mean_teacher_step

from mmsemi.errors import ConfigError
from mmsemi.models.forward import forward
from mmsemi.models.losses import CONSISTENCY_FORMS, sigmoid_rampup
from mmsemi.structures import SemiBatch


class TestMeanTeacher(MethodTester):
    name = "mean_teacher"
    model = dict(type="MeanTeacher", rampup_iters=6)
    networks = ["student", "teacher"]
    unsup_losses = ("unsup.loss_consistency",)


@pytest.fixture
def build(segmentor_config, preprocessor_config):
    def make(**settings):
        return make_method(segmentor_config, preprocessor_config, type="MeanTeacher", **settings)

    return make


# --- The step -------------------------------------------------------------------------------------

AFTER = dict(ema_when="after")


@pytest.mark.parametrize("pairing", [None, "halves"])
@pytest.mark.parametrize(
    ("settings", "strong"),
    [
        (dict(), False),  # the released form
        (dict(), True),
        (dict(ignore_padding=True), True),
        (dict(AFTER, consistency_on_labeled=False, unsup_weight=30.0), True),
        (dict(AFTER, buffers="ema", momentum=0.2), True),
        *((dict(buffers=buffers, momentum=0.2), True) for buffers in ("ema", "copy")),
        (dict(AFTER, buffers="ema", teacher_mode="eval"), True),
        *((dict(consistency=form, unsup_weight=2.0), True) for form in CONSISTENCY_FORMS),
        *(
            (dict(confidence_threshold=0.42, confidence_mode=mode), True)
            for mode in ("mean", "pixel")
        ),
    ],
)
def test_the_step_is_the_reference_step(build, settings, strong, pairing):
    """The teacher in the middle of the step included."""
    runner = build(**settings)
    model, reference = runner.model, copy.deepcopy(runner.model)
    cfg, recorded = model.settings, make_recorded(pairing, strong=strong)
    expected = recorded.reference(
        mean_teacher_step, reference.student, reference.teacher.module, settings=cfg
    )
    reference.teacher.steps += cfg.ema_when == "mid"  # the reference counts no steps
    assert expected["unsup.loss_consistency"] > 0.01
    losses = check_step(runner, recorded, expected, reference)
    assert_state(model.teacher.module, reference.teacher.module.state_dict())
    assert all(p.grad is None for p in model.teacher.parameters())
    if cfg.confidence_threshold is not None:
        assert 0.1 < losses["unsup.confident"] < 0.9


@pytest.mark.parametrize(("pairing", "teacher_passes"), [(None, 2), ("halves", 3)])
def test_each_network_normalises_each_stream_by_itself(build, pairing, teacher_passes):
    """Two forwards each, the mixed form one more for the teacher."""
    runner = build()
    runner.start_step()
    make_recorded(pairing).loss(runner.model)
    teacher = runner.model.teacher.module
    assert runner.model.student.backbone.bn1.num_batches_tracked == 2
    assert teacher.backbone.bn1.num_batches_tracked == teacher_passes
    assert teacher.training


@pytest.mark.parametrize("pairing", [None, "halves"])
def test_padding_and_void_count_unless_told_otherwise(build, pairing):
    found = {}
    for ignore in (False, True):
        runner = build(ignore_padding=ignore)
        runner.start_step()
        found[ignore] = make_recorded(pairing).loss(runner.model)["unsup.loss_consistency"]
    assert found[True] < found[False]


def test_the_teacher_in_eval_mode_keeps_its_statistics_to_the_hook(build):
    runner = build(teacher_mode="eval", buffers="ema", ema_when="after")
    model, net = runner.model, runner.model.teacher.module
    before = {key: value.clone() for key, value in net.named_buffers()}
    make_recorded().loss(model)
    assert not any(module.training for module in model.teacher.modules())
    assert all(torch.equal(value, before[key]) for key, value in net.named_buffers())
    expected = expected_teacher(model.student, net, 0.01, "ema")
    for hook in runner.hooks:
        hook.after_train_iter(runner, 0)
    assert_state(net, expected)


def test_labels_that_are_all_ignored_give_zero_with_a_graph(build):
    recorded = make_recorded()
    recorded.batch.labeled.labels_NHW.fill_(255)
    runner = build()
    runner.start_step()
    losses = recorded.loss(runner.model)
    assert losses["sup.decode.loss_ce"] == 0 and losses["sup.decode.loss_ce"].requires_grad
    total(losses).backward()
    assert all(gradient.isfinite().all() for gradient in gradients(runner.model).values())


def test_the_weight_follows_the_ramp_up(build):
    values = []
    for settings in (dict(), dict(rampup_iters=10)):
        runner = build(**settings)
        runner.message_hub.update_info("iter", 5)
        runner.start_step()
        values.append(make_recorded().loss(runner.model)["unsup.loss_consistency"])
    torch.testing.assert_close(values[1], values[0] * 0.286505, rtol=1e-5, atol=0)


def test_agreement_is_a_share(build):
    runner = build()
    runner.start_step()
    runner.model.student.load_state_dict(runner.model.teacher.module.state_dict())
    losses = make_recorded(strong=False).loss(runner.model)
    assert losses["unsup.agree"] == 1 and losses["unsup.loss_consistency"] < 1e-6


@pytest.mark.parametrize("pairing", [None, "halves"])
def test_what_is_shown_of_the_labels(build, pairing):
    """Everywhere a label, since the distance has no threshold; agreement is the share of equal ones."""
    runner, recorded = build(), make_recorded(pairing)
    student = copy.deepcopy(runner.model.student)
    runner.start_step()
    runner.model.wants_to_show = True
    losses = recorded.loss(runner.model)
    shown, recipe = runner.model.shown, recorded.recipes[0] if pairing else None
    assert shown.pseudo.label_NHW.shape == (4, 16, 16)
    assert shown.first_B.tolist() == ([0, 1] if pairing else [0, 1, 2, 3])
    label, view = shown.pseudo.label_NHW, recorded.views[0]
    assert torch.equal(shown.target_BHW, recipe.apply(label) if recipe else label)
    assert torch.equal(shown.views_BCHW, recipe.apply(view) if recipe else view)
    predicted = forward(student, shown.views_BCHW).logits_NCHW.argmax(1)
    share = (predicted == shown.target_BHW).double().mean().item()
    assert losses["unsup.agree"].item() == pytest.approx(share) and 0.1 < share < 0.9


# --- Known answers ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        ("mid", [(1, 1), (1, 1.01), (1.01, 1.0299), (1.0299, 1.059601)]),
        ("after", [(1, 1), (1.01, 1.01), (1.0299, 1.0299)]),
    ],
)
def test_weights_of_the_teacher_in_each_pass(build, when, expected):
    """Known answer "the teacher in each pass": the student is 1, 2, 3, 4 before iterations 0 to 3."""
    runner = build(ema_when=when)
    parameter, averaged = (
        net.decode_head.conv_seg.bias for net in (runner.model.student, runner.model.teacher.module)
    )
    seen = []
    runner.model.teacher.module.decode_head.register_forward_pre_hook(
        lambda *_: seen.append(averaged[0].item())
    )
    with torch.no_grad():
        averaged.fill_(1.0)
    for iteration in range(len(expected)):
        with torch.no_grad():
            parameter.fill_(1.0 + iteration)
        if when == "after" and iteration:  # the student of this iteration is that of the last step
            runner.hooks[0].after_train_iter(runner, iteration)
        runner.start_step()
        make_recorded().loss(runner.model)
    pairs = list(zip(seen[::2], seen[1::2]))
    assert pairs == [pytest.approx(pair, abs=1e-9) for pair in expected]


def test_running_mean_of_the_teacher(build):
    """Known answer: momentum 0.1, two passes with batch means 1 and 3, whatever the student's are."""
    runner, recorded = build(momentum=1e-12), make_recorded()  # the weights of the teacher stay
    teacher, student = runner.model.teacher.module, runner.model.student
    with torch.no_grad():
        for net, gain in ((teacher, 1.0), (student, 50.0)):
            net.backbone.conv1.weight.zero_()
            net.backbone.conv1.weight[:, 0, 3, 3] = gain
    batch, ones = recorded.batch, torch.ones(4, 3, 16, 16).double()
    labeled = make_images(ones[:2], batch.labeled.labels_NHW)
    recorded.batch, recorded.views = SemiBatch(labeled, make_images(3 * ones)), [3 * ones]
    teacher.backbone.bn1.running_mean.zero_()
    runner.start_step()
    recorded.loss(runner.model)
    # 7x7 kernel with only its centre set, stride 2: every output is one input pixel.
    assert teacher.backbone.bn1.running_mean.tolist() == pytest.approx([0.39] * 4, abs=1e-6)


def test_sigmoid_ramp_up():
    """Known answer "ramp-up"."""
    found = [sigmoid_rampup(step, 10) for step in (0, 5, 10, 20)]
    assert found == pytest.approx([0.006738, 0.286505, 1, 1], abs=5e-7)


# --- Refusals -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings",
    [
        dict(consistency="l2"),
        dict(confidence_mode="max"),
        dict(confidence_threshold=1.1),
        dict(teacher_mode="test"),
        dict(ema_when="before"),
        dict(buffers="mean"),
        dict(momentum=0),
        dict(predict_on="ensemble"),
    ],
)
def test_settings_that_no_run_can_mean_are_refused(build, settings):
    ((name, value),) = settings.items()
    with pytest.raises(ConfigError, match=f"{name}={value!r}"):
        build(**settings)


def test_a_teacher_whose_statistics_nothing_would_change_is_refused(build):
    with pytest.raises(ConfigError, match="buffers='keep'"):
        build(teacher_mode="eval")


def test_a_teacher_that_nothing_updates_is_refused(segmentor_config, preprocessor_config):
    model = MODELS.build(
        dict(type="MeanTeacher", segmentor=segmentor_config, data_preprocessor=preprocessor_config)
    )
    with pytest.raises(ConfigError, match="MeanTeacherHook"):
        make_recorded().loss(model.double())


def test_several_views_are_refused(build):
    with pytest.raises(ConfigError, match="MeanTeacher .*'num_views'"):
        build(num_views=2)
