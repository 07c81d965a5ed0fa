# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""The whole CPS step against one written out by hand, and what it touches."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from method_tester import MethodTester
from mmengine.logging import MessageHub
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

from mmsemi.models.augment import MixRecipe


class TestCPS(MethodTester):
    name = "cps"
    model = dict(type="CPS", semi_train_cfg=dict(unsup_weight=1.5))
    networks = [0, 1, "ensemble"]
    predict_on = 0
    unsup_losses = ("unsup.loss_cps",)
    golden_std = 0.01  # mmseg's own


class TestCPSCutMix(TestCPS):
    name = "cps_cutmix"
    model = dict(type="CPS", semi_train_cfg=dict(unsup_weight=1.0))
    preprocessor = dict(mix=dict(type="CutMix"))


@pytest.fixture
def build(segmentor_config, preprocessor_config):
    def make(**kwargs):
        segmentor_config["decode_head"]["dropout_ratio"] = 0
        torch.manual_seed(0)
        model = MODELS.build(
            dict(
                type="CPS",
                segmentor=segmentor_config,
                data_preprocessor=preprocessor_config,
                **kwargs,
            )
        )
        for net in model.networks():
            net.init_weights()
        return model.train()

    return make


def make_batch(mixed: bool, size: int = 16):
    generator = torch.Generator().manual_seed(1)
    x_l = torch.randn(2, 3, size, size, generator=generator)
    x_u = torch.randn(4, 3, size, size, generator=generator)
    y = torch.randint(0, 3, (2, 1, size, size), generator=generator)
    y[:, :, :3] = 255
    valid = torch.ones(4, size, size, dtype=torch.bool)
    valid[:, -4:] = False
    recipe, student = None, x_u
    if mixed:
        mask = torch.zeros(2, 1, size, size, dtype=torch.bool)
        mask[0, :, 2:9, 3:12] = True
        mask[1, :, :, 8:] = True
        recipe = MixRecipe(mask, torch.tensor([0, 1]), torch.tensor([3, 2]))
        student = recipe.apply(x_u)
    samples = []
    for label in y:
        one = SegDataSample()
        one.gt_sem_seg = PixelData(data=label)
        samples.append(one)
    inputs = dict(sup=x_l, unsup_teacher=x_u, unsup_student=student, mix=recipe, valid=valid)
    return inputs, dict(sup=samples)


def logits(net, x):
    """The network in plain torch calls."""
    out = net.decode_head(net.backbone(x))
    return F.interpolate(out, x.shape[-2:], mode="bilinear", align_corners=net.align_corners)


def total(losses):
    return sum(value for key, value in losses.items() if "loss" in key)


def grads(model):
    return [p.grad.clone() for p in model.parameters()]


def by_hand(model, inputs, samples, weight):
    """cps.md section 2, in the reference's order of forwards."""
    nets = list(model.branches)
    y = torch.stack([s.gt_sem_seg.data[0] for s in samples["sup"]])
    recipe = inputs["mix"]
    if recipe is None:
        pairs = [(logits(n, inputs["sup"]), logits(n, inputs["unsup_teacher"])) for n in nets]
        labeled = [pair[0] for pair in pairs]
        joint = [torch.cat(pair) for pair in pairs]
        labels = [one.argmax(1) for one in joint]
    else:
        u0 = inputs["unsup_teacher"][recipe.first]
        u1 = inputs["unsup_teacher"][recipe.second]
        # u0 and u1 are forwarded as the loader gives them: images 0,1 and 2,3.
        order = recipe.second - 2
        mask = recipe.mask_B1HW
        with torch.no_grad():
            labels = []
            for n in nets:
                first, second = logits(n, u0), logits(n, u1[order.argsort()])[order]
                labels.append(torch.where(mask, second, first).argmax(1))
        mixed = torch.where(mask, u1, u0)
        joint, labeled = [], []
        for n in nets:
            joint.append(logits(n, mixed))
            labeled.append(logits(n, inputs["sup"]))
    sup = sum(F.cross_entropy(one, y, ignore_index=255) for one in labeled)
    cross = F.cross_entropy(joint[0], labels[1]) + F.cross_entropy(joint[1], labels[0])
    return sup + weight * cross


@pytest.mark.parametrize("mixed", [False, True])
def test_step_equals_the_one_written_out(build, mixed):
    inputs, samples = make_batch(mixed)
    model = build(semi_train_cfg=dict(unsup_weight=1.5))
    reference = copy.deepcopy(model)
    losses = model.loss(inputs, samples)
    want = by_hand(reference, inputs, samples, 1.5)
    torch.testing.assert_close(total(losses), want)
    total(losses).backward()
    want.backward()
    for ours, theirs in zip(grads(model), grads(reference)):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)
    # Running statistics of every pass, in the reference's order.
    for (name, ours), theirs in zip(model.named_buffers(), reference.buffers()):
        torch.testing.assert_close(ours, theirs, msg=name)


@pytest.mark.parametrize(("mixed", "passes"), [(False, 2), (True, 4)])
def test_batch_norm_sees_each_stream(build, mixed, passes):
    model = build()
    model.loss(*make_batch(mixed))
    for net in model.branches:
        assert net.backbone.bn1.num_batches_tracked == passes
    joint = build(semi_train_cfg=dict(joint_forward=True))
    joint.loss(*make_batch(mixed))
    assert joint.branches[0].backbone.bn1.num_batches_tracked == (2 if mixed else 1)


def test_joint_forward_is_the_same_without_batch_norm(build):
    """Only the batch statistics differ: in eval mode both forms agree."""
    for mixed in (False, True):
        apart, joint = build(), build(semi_train_cfg=dict(joint_forward=True))
        joint.load_state_dict(apart.state_dict())
        values = [total(m.eval().loss(*make_batch(mixed))) for m in (apart, joint)]
        torch.testing.assert_close(*values)


def test_pseudo_labels_carry_no_gradient(build):
    """Branch 0 learns from branch 1's labels; branch 1 gets nothing from that term."""
    inputs, samples = make_batch(True)
    model = build()
    first, second = model.branches
    model.loss(inputs, samples)  # warm shapes
    out = [logits(net, inputs["unsup_student"]) for net in model.branches]
    loss = F.cross_entropy(out[0], out[1].argmax(1))
    loss.backward()
    assert any(p.grad is not None for p in first.parameters())
    assert all(p.grad is None for p in second.parameters())


def test_branches_start_different_and_share_nothing(build):
    model = build()
    pairs = list(zip(model.branches[0].parameters(), model.branches[1].parameters()))
    assert any(not torch.equal(a, b) for a, b in pairs)
    assert all(a.data_ptr() != b.data_ptr() for a, b in pairs)


@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize("ignore_padding", [False, True])
def test_padding_counts_unless_told_otherwise(build, mixed, ignore_padding, monkeypatch):
    """Pixels whose label comes from padding reach the cross loss only by default."""
    inputs, samples = make_batch(mixed)
    seen = []
    monkeypatch.setattr(
        "mmsemi.models.segmentors.cps.cross_entropy",
        lambda logits, labels, ignore_index: (
            seen.append(labels == ignore_index) or logits.sum() * 0
        ),
    )
    build(semi_train_cfg=dict(ignore_padding=ignore_padding)).loss(inputs, samples)
    want = torch.zeros_like(seen[0])
    if ignore_padding and mixed:
        want = ~inputs["mix"].apply(inputs["valid"])
    elif ignore_padding:
        labels = torch.stack([one.gt_sem_seg.data[0] for one in samples["sup"]])
        want = torch.cat([labels == 255, ~inputs["valid"]])
    assert len(seen) == 2 and all(torch.equal(one, want) for one in seen)
    assert want.any() == ignore_padding


def test_all_ignored_labels_give_zero_with_a_graph(build):
    inputs, samples = make_batch(False)
    for one in samples["sup"]:
        one.gt_sem_seg.data.fill_(255)
    losses = build().loss(inputs, samples)
    assert losses["sup.0.decode.loss_ce"] == 0 and losses["sup.0.decode.loss_ce"].requires_grad
    assert torch.isfinite(total(losses))


def test_logged_values_are_few_and_statistics_are_not_summed(build):
    model = build()
    losses = model.loss(*make_batch(True))
    total_loss, log = model.parse_losses(losses)
    assert len(log) <= 8
    torch.testing.assert_close(total_loss, total(losses))
    assert 0 <= losses["unsup.agree"] <= 1 and losses["unsup.agree"].dim() == 0


def test_missing_unlabelled_images_say_what_to_set(build):
    inputs, samples = make_batch(False)
    with pytest.raises(ValueError, match="num_per_source.unlabeled to at least 1"):
        build().loss(dict(sup=inputs["sup"]), samples)


def test_unknown_networks_are_refused(build):
    with pytest.raises(ValueError, match=r"predict_on=2 is none of \[0, 1, 'ensemble'\]"):
        build(semi_test_cfg=dict(predict_on=2))


def test_predictions_of_each_branch_and_of_both(build):
    model = build().eval()
    x = torch.randn(1, 3, 20, 24)
    with torch.no_grad():
        each = [model.branches[i].predict(x)[0].seg_logits.data for i in range(2)]
        for i in range(2):
            with model.predicting_on(i):
                assert torch.equal(model.predict(x)[0].seg_logits.data, each[i])
        with model.predicting_on("ensemble"):
            both = model.predict(x)[0]
    mean = torch.stack([one.softmax(0) for one in each]).mean(0)
    torch.testing.assert_close(both.seg_logits.data.softmax(0), mean)
    assert torch.equal(both.pred_sem_seg.data[0], mean.argmax(0))
    assert model.semi_test_cfg["predict_on"] == 0


@pytest.mark.parametrize(("iteration", "share"), [(0, 0.006737947), (10, 0.2865048), (20, 1.0)])
def test_the_ramp_up_follows_the_runner_s_iteration(build, iteration, share):
    """exp(-5 (1 - t/20)^2) of lambda; the runner's count survives a resume."""
    batch = make_batch(True)
    hub = MessageHub.get_current_instance()
    losses = []
    for settings in (dict(), dict(rampup_iters=20)):
        hub.update_info("iter", iteration)
        losses.append(build(semi_train_cfg=settings).loss(*batch)["unsup.loss_cps"])
    hub.update_info("iter", 0)
    torch.testing.assert_close(losses[1], losses[0] * share)
