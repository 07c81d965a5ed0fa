# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""U2PL: what every method must do, and its step against the reference step.

Known answers: docs/methods/u2pl.md. Those of the losses: test_losses/test_unreliable.py, of the bank:
test_memory_bank.py, of the mix: test_views/test_half_cutmix.py.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from method_runs import build_runner
from method_tester import MethodTester
from mmseg.registry import MODELS
from recorded import Recorded, check_step, gradients, make_method, make_recorded, total
from reference.u2pl import Draws, Ring, u2pl_step
from step_runner import StepRunner
from torch import Tensor, nn
from watchers import snapshot

from mmsemi.compat import load_checkpoint_file
from mmsemi.errors import ConfigError
from mmsemi.models import U2PL
from mmsemi.models.class_contrast import Look
from mmsemi.models.forward import Outputs

# Of 3 classes the last two are hard negatives of an unreliable pixel.
SMALL = dict(low_rank=1, num_anchors=16, num_negatives=6, num_keys=12, bank_size=40)
SMALL |= dict(first_bank_size=60, representation_channels=8, total_iters=100)


class TestU2PL(MethodTester):
    name = "u2pl"
    model = dict(type="U2PL", mix=dict(type="HalfCutMix"), bank_dtype="float32", **SMALL)
    networks = ["student", "teacher"]
    predict_on = "teacher"
    heads = ("representation",)
    unsup_losses = ("unsup.loss_ce", "unsup.loss_contrast")
    # Half of the batches are not mixed: their views would be the images.
    frozen_settings = dict(mix=dict(type="HalfCutMix", prob=1.0))
    views_alone = dict(labeled_forward="alone", strong=dict(type="StrongPhotometric"))

    def test_the_checkpoint_holds_the_bank_and_the_weights_do_not(self, straight):
        checkpoint = load_checkpoint_file(str(Path(straight.work_dir) / "iter_4.pth"))
        bank = checkpoint["memory_bank"]
        assert bank["world_size"] == 1 and bank["sizes"] == [60, 40, 40]
        assert bank["rows"].shape == (140, 8)
        lengths = bank["rows"].norm(dim=1).split(bank["sizes"])
        for rows, count in zip(lengths, bank["count"].tolist()):
            assert count > 12 and torch.allclose(rows[:count], torch.ones(count))
            assert not rows[count:].any()
        assert not [key for key in checkpoint["state_dict"] if "bank" in key]
        assert any(key.startswith("teacher.head.") for key in checkpoint["state_dict"])

    def test_the_bank_of_another_number_of_processes_is_left(self, straight, tmp_path, monkeypatch):
        checkpoint = str(Path(straight.work_dir) / "iter_2.pth")
        config = self.runner_config(tmp_path, max_iters=3, load_from=checkpoint, resume=True)
        runner = build_runner(config)
        warned = []
        monkeypatch.setattr("mmsemi.models.memory_bank.get_world_size", lambda: 2)
        monkeypatch.setattr(runner.logger, "warning", lambda text, *_: warned.append(text))
        runner.train()
        assert 0 < runner.model.memory_bank.count_C.max() <= 12, "of one step"
        assert any("1 processes" in text and "2" in text for text in warned)

    def test_a_resumed_run_goes_on_with_its_learning_rate(self, tmp_path):
        """docs/methods/u2pl.md#known-answers: 30 of 100 iterations, then 40 in another process."""
        # mmengine counts the last iteration as one of them.
        schedule = [dict(type="PolyLR", power=0.9, begin=0, end=101, by_epoch=False)]
        rates = []
        for number, upto in enumerate((30, 70)):
            config = self.runner_config(tmp_path / str(number), max_iters=upto)
            config |= dict(param_scheduler=schedule, model=self.model_config(warmup_iters=100))
            config["optim_wrapper"]["optimizer"]["lr"] = 0.1
            config["default_hooks"]["checkpoint"]["interval"] = 30
            if number:
                config |= dict(load_from=str(tmp_path / "0" / "iter_30.pth"), resume=True)
            runner = build_runner(config)
            runner.train()
            rates.append([rate["lr"][0] for rate in runner.recorder.rates])
        assert [len(own) for own in rates] == [30, 40]
        assert [own[-1] for own in rates] == pytest.approx([0.0734738, 0.0348518], rel=1e-5)


@pytest.fixture
def build(segmentor_config, preprocessor_config):
    def make(**settings):
        settings = dict(type="U2PL", bank_dtype="float32") | SMALL | settings
        runner = make_method(segmentor_config, preprocessor_config, **settings)
        for module in runner.model.modules():
            if isinstance(module, nn.Dropout2d):
                module.p = 0.0
        return runner

    return make


@dataclass
class RecordedU2PL(Recorded):
    """Views, recipes, and the bank of the reference."""

    bank: list[Ring] = field(default_factory=list)
    seed: int = 7

    def loss(self, method: nn.Module) -> dict[str, Tensor]:
        self.batch.generator = torch.Generator().manual_seed(self.seed)
        return super().loss(method)

    def expected(self, model: U2PL, percent: float) -> dict[str, Tensor]:
        cfg = model.settings
        generator = torch.Generator().manual_seed(self.seed)
        size = len(self.batch.labeled) + len(self.views[0])
        sizes = ((3, cfg.num_anchors), (3, cfg.num_anchors, cfg.num_negatives), (size * 4,))
        return self.reference(
            u2pl_step,
            model.student,
            model.representation,
            model.teacher.module,
            model.teacher.head,
            settings=cfg,
            draws=Draws(*(torch.rand(size, generator=generator) for size in sizes)),
            bank=self.bank,
            percent=percent,
        )


def make(pairing: str | None = "permute") -> RecordedU2PL:
    recorded = make_recorded(pairing, strong=False)
    rings = [Ring(9), Ring(7), Ring(7)]
    return RecordedU2PL(recorded.batch, recorded.views, recorded.recipes, rings)


@pytest.mark.parametrize(
    ("settings", "pairing"),
    [
        ({}, "permute"),
        (dict(labeled_forward="alone", unsup_weight=0.7, contrast_weight=2.0), "permute"),
        (dict(ignore_padding=False, threshold=0.5, low_rank=2, temperature=0.1), None),
        (dict(teacher_mode="eval", buffers="ema", unreliable_percent=45.0), "permute"),
        (dict(num_keys=100, high_rank=2), "permute"),
    ],
)
def test_the_step_is_the_reference_step(build, settings, pairing):
    """Five steps: the rings come round."""
    runner, recorded = build(first_bank_size=9, bank_size=7, **settings), make(pairing)
    model = runner.model
    filled = []
    for iteration in range(0, 50, 10):
        runner.message_hub.update_info("iter", iteration)
        reference = copy.deepcopy(model)
        alpha = model.settings.unreliable_percent * (1 - iteration / 100)
        expected = recorded.expected(reference, alpha)
        losses = check_step(runner, recorded, expected, reference)
        assert losses["unsup.loss_ce"] > 0 and losses["unsup.loss_contrast"] > 0
        assert 0.4 < losses["unsup.mask_ratio"] < 1 and losses["unsup.classes"] > 0
        counts = [len(ring.rows) for ring in recorded.bank]
        assert model.memory_bank.count_C.tolist() == counts
        filled.append(losses["unsup.bank"].item())
        assert filled[-1] == pytest.approx(sum(counts) / 23)
        runner.optim_wrapper.optimizer.step()
        model.zero_grad()
        recorded.seed += 1
        recorded.views = [view + 0.1 for view in recorded.views]
    assert filled == sorted(filled) and any(ring.pushed > ring.size for ring in recorded.bank)


def test_what_learns_from_what(build):
    """The contrastive loss moves no classifier, and nothing moves the teacher."""
    model = build().model
    losses = make().loss(model)
    losses["unsup.loss_contrast"].backward(retain_graph=True)
    found = gradients(model)
    assert not [name for name in found if "conv_seg" in name or "teacher" in name]
    for name in ("representation.0.weight", "student.backbone.conv1.weight"):
        assert found[name].abs().max() > 0
    model.zero_grad()
    losses["unsup.loss_ce"].backward()
    assert not [name for name in gradients(model) if name.startswith("representation.")]


# --- The contrastive loss by hand -----------------------------------------------------------------


def look(probability: Tensor, z: Tensor) -> Look:
    """Of two images of two pixels each."""
    logits = probability.log().T.reshape(-1, 2, 1, 2).transpose(0, 1).contiguous()
    halves = [Outputs(None, [half], half) for half in logits.split(1)]
    return Look(*halves, z.T.reshape(-1, 2, 1, 2).transpose(0, 1).contiguous())


def compare(model: U2PL, p: list, z: Tensor, teacher_z: Tensor, label: list, masks: list) -> Tensor:
    """The loss of a labelled and an unlabelled image of two pixels each."""
    p, label = torch.tensor(p).double(), torch.tensor(label).view(2, 1, 2)
    low, high = (torch.tensor(mask).view(2, 1, 2) for mask in masks)
    generator = torch.Generator().manual_seed(0)
    return model.class_contrast(look(p, z), look(p, teacher_z), label, low, high, generator)[0]


P = [(0.6, 0.3, 0.1), (0.5, 0.4, 0.1), (0.9, 0.08, 0.02), (0.2, 0.35, 0.45)]
Z = torch.tensor([(1, 0), (0, 1), (1, 0), (0, 0.5)]).double()
TEACHER_Z = torch.tensor([(1, 0), (0, 1), (0.6, 0.8), (0, -1)]).double()
SURE = [True, True]


@pytest.mark.parametrize("released", [False, True])
def test_the_whole_loss_by_hand(build, released):
    """Two images of two pixels, whatever is drawn."""
    model = build(high_rank=3, num_anchors=4000, released_contrast=released).model
    z = Z.clone().requires_grad_()
    masks = [[*SURE, True, False], [*SURE, False, True]]
    loss = compare(model, P, z, TEACHER_Z, [0, 1, 0, 2], masks)
    loss.backward()
    if released:
        assert loss == 0 and not z.grad.any() and model.memory_bank.count_C.tolist() == [0, 0, 0]
        return
    assert model.memory_bank.count_C.tolist() == [2, 1, 0]
    rows = model.memory_bank.draw(torch.tensor([[0, 1], [0, 0], [0, 0]]))
    found = {tuple(row) for row in rows[0].tolist()}
    assert found == {(0.0, 1.0), (0.0, -1.0)} and rows[1, 0].tolist() == [0, -1]
    # 50 negatives an anchor in the page's example.
    model = build(high_rank=3, num_anchors=4000, num_negatives=50).model
    z = Z.clone().requires_grad_()
    loss = compare(model, P, z, TEACHER_Z, [0, 1, 0, 2], masks)
    loss.backward()
    assert loss.item() == pytest.approx(1.443156, abs=0.01)
    assert not z.grad[:, 0].abs().gt(1e-9).any() and not z.grad[[1, 3], 1].abs().gt(1e-9).any()
    assert z.grad[[0, 2], 1].sum().item() == pytest.approx(-0.39942, abs=0.01)


@pytest.mark.parametrize(
    ("labels", "ours", "released"),
    [([0, 0, 3, 3], [0, 1, 2, 3], [0, 1]), ([2, 2, 3, 3], [0, 1, 2, 3], [])],
)
def test_each_class_has_its_own_bank(segmentor_config, preprocessor_config, labels, ours, released):
    """Which pixels get a gradient, with full banks."""
    segmentor_config["decode_head"]["num_classes"] = 4
    for is_released, expected in ((False, ours), (True, released)):
        settings = dict(SMALL, released_contrast=is_released, bank_dtype="float32", num_anchors=64)
        config = dict(type="U2PL", segmentor=segmentor_config, **settings)
        model = MODELS.build(dict(config, data_preprocessor=preprocessor_config))
        rows = torch.randn(4, 60, 5, generator=torch.Generator().manual_seed(0))
        model.memory_bank.push(rows, torch.ones(4, 60, dtype=torch.bool))
        p = torch.full((4, 4), 0.1).scatter_(1, torch.tensor(labels)[:, None], 0.7).tolist()
        z = torch.randn(4, 5, generator=torch.Generator().manual_seed(1)).double()
        z.requires_grad_()
        nothing = [*SURE, False, False]
        # All four pixels are a row of one labelled image: here, of a labelled and a sure unlabelled.
        masks = [[*SURE, *SURE], nothing]
        compare(model, p, z, z.detach(), labels, masks).backward()
        assert z.grad.abs().sum(1).nonzero().flatten().tolist() == expected


def test_the_released_loss_is_divided_by_the_number_of_processes(build, monkeypatch):
    """By which data-parallel training divides again; ours it divides once."""
    masks = [[*SURE, True, True], [*SURE, True, True]]
    for released, share in ((False, 1), (True, 0.5)):
        values = []
        for world_size in (1, 2):
            monkeypatch.setattr(
                "mmsemi.models.class_contrast.get_world_size", lambda n=world_size: n
            )
            model = build(released_contrast=released).model
            rows = torch.randn(3, 40, 2, generator=torch.Generator().manual_seed(0))
            model.memory_bank.push(rows, torch.ones(3, 40, dtype=torch.bool))
            values.append(compare(model, P, Z, TEACHER_Z, [0, 1, 0, 1], masks).item())
        assert values[0] > 0 and values[1] == pytest.approx(share * values[0])


# --- The beginning --------------------------------------------------------------------------------


def test_the_first_iterations_train_on_labels_alone(build):
    runner = build(warmup_iters=3)
    model, before = runner.model, copy.deepcopy(runner.model)
    for iteration in range(5):
        recorded = make()
        runner.message_hub.update_info("iter", iteration)
        runner.start_step()
        if iteration < 3:
            recorded.views, recorded.recipes = [], []
        losses = recorded.loss(model)
        if iteration == 3:  # a copy, buffers too, and then the average begins
            teacher, student = snapshot(model.teacher.module), snapshot(model.student)
            names = [name for name, _ in model.student.named_parameters()]
            assert all(torch.equal(teacher[name], student[name]) for name in names)
            assert model.teacher.steps == 0
        runner.optim_wrapper.update_params(total(losses))
        for hook in runner.hooks:
            hook.after_train_iter(runner, iteration)
        started = iteration >= 3
        assert (losses["unsup.loss_ce"] > 0) == (losses["unsup.loss_contrast"] > 0) == started
        moved = not torch.equal(model.representation[0].weight, before.representation[0].weight)
        assert moved == started
        assert model.teacher.steps == (iteration - 2 if started else iteration + 1)


def test_the_teachers_average():
    """One copy, then the ramp: docs/methods/u2pl.md#known-answers"""
    from mmsemi.models import EMATeacher

    student = nn.Linear(1, 1, bias=False)
    head = nn.Linear(1, 1, bias=False)
    teacher = EMATeacher(student, 0.01, warmup=True, head=head)
    teacher.start(student)
    for value in (12.0, 11.0, 10.0):
        nn.init.constant_(student.weight, value)
        teacher.update()
    teacher.restart(student)
    found = []
    for value in (9.0, 8.0, 7.0, 6.0, 5.0, 4.0):
        nn.init.constant_(student.weight, value)
        nn.init.constant_(head.weight, -value)
        teacher.update()
        found.append(teacher.module.weight.item())
        assert teacher.head.weight.item() == pytest.approx(-found[-1])
    assert found == pytest.approx([9, 8.5, 8, 7.5, 7, 6.5])
    assert not [name for name, _ in teacher.named_parameters() if "student" in name]


def test_the_weight_follows_the_ramp_up(build):
    values = []
    for settings in (dict(), dict(rampup_iters=10)):
        runner = build(**settings)
        runner.message_hub.update_info("iter", 5)
        values.append(make().loss(runner.model)["unsup.loss_ce"])
    torch.testing.assert_close(values[1], values[0] * 0.286505, rtol=1e-5, atol=0)


def test_the_length_of_the_run_is_needed(build):
    runner = build(total_iters=None)
    with pytest.raises(ConfigError, match="total_iters=None"):
        make().loss(runner.model)
    runner.message_hub.update_info("max_iters", 40)
    runner.message_hub.update_info("iter", 30)
    assert runner.model.percent() == 5
    make().loss(runner.model)


# --- Labels, what is shown, and what is refused ---------------------------------------------------


def test_labels_that_are_all_ignored(build):
    recorded, runner = make(None), build()
    recorded.batch.labeled.labels_NHW.fill_(255)
    recorded.batch.unlabeled.valid_NHW.fill_(False)
    losses = recorded.loss(runner.model)
    assert total(losses) == 0 and losses["unsup.mask_ratio"] == losses["unsup.classes"] == 0
    total(losses).backward()
    assert all((gradient == 0).all() for gradient in gradients(runner.model).values())


def test_what_is_shown_of_the_labels(build):
    model, recorded = build().model, make()
    model.wants_to_show = True
    losses, shown = recorded.loss(model), model.shown
    share = (shown.target_BHW != 255).sum() / shown.target_BHW.numel()
    torch.testing.assert_close(losses["unsup.mask_ratio"], share)
    assert shown.images is recorded.batch.unlabeled


@pytest.mark.parametrize(
    "settings",
    [
        dict(unreliable_percent=60.0),
        dict(low_rank=0),
        dict(low_rank=20),
        dict(temperature=0.0),
        dict(num_anchors=0),
        dict(bank_size=0),
        dict(bank_dtype="int8"),
        dict(buffers="none"),
        dict(strong_view_stats=False),
        dict(warmup_iters=-1),
    ],
)
def test_settings_that_no_run_can_mean_are_refused(build, settings):
    ((name, value),) = settings.items()
    mix = dict(type="HalfCutMix")
    with pytest.raises(ConfigError, match=f"{name}={value!r}"):
        build(**dict(settings, mix=mix))


def test_the_bank_of_another_size_is_left(build):
    model = build().model
    make().loss(model)
    state = model.memory_bank.state_dict()
    other = StepRunner(build(bank_size=50).model)
    with pytest.raises(Exception, match="60 .* 40 .* 40"):
        other.model.memory_bank.load_state_dict(state, torch.device("cpu"))
