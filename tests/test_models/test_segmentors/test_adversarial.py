# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""What the methods with a discriminator share: modes, sources of real maps, optimisers, settings.

Their steps are compared with the reference steps in ``test_advsemiseg.py`` and ``test_s4gan.py``.
"""

from __future__ import annotations

import copy
import re

import pytest
import torch
from joint_optimizer import JOINT
from method_runs import build_runner
from method_tester import MethodTester
from mmengine.config import ConfigDict
from mmengine.optim import OptimWrapper, OptimWrapperDict, build_optim_wrapper
from mmseg.registry import DATASETS, MODELS
from step_runner import StepRunner, draw_batches

from mmsemi.errors import ConfigError

ADVSEMISEG = dict(
    type="AdvSemiSeg",
    discriminator=dict(type="FCDiscriminator", base_channels=8),
    adv_weight=0.5,
    unsup_adv_weight=0.7,
    unsup_weight=0.9,
    unsup_start=0,
)
S4GAN = dict(
    type="S4GAN",
    discriminator=dict(type="S4GANDiscriminator", base_channels=8),
    matching_weight=2.0,
    unsup_weight=0.8,
    threshold=0.4,
    unsup_start=0,
)


class AdversarialTester(MethodTester):
    __test__ = False
    model = ADVSEMISEG
    optim_wrapper = JOINT


# AdvSemiSeg's three modes: its baseline is TestSupervised, the whole method is TestAdvSemiSeg.


class TestAdversarial(AdversarialTester):
    """Labelled images alone."""

    __test__ = True
    name = "advsemiseg_adversarial"
    labels_images = False
    counts = dict(labeled=3)
    test_views_can_leave_the_statistics_alone = None  # there are none
    unsup_losses = ("adv.loss_labeled",)


class TestAdversarialWithMaps(AdversarialTester):
    """The same with a stream of ground truth of its own."""

    __test__ = True
    name = "advsemiseg_adversarial_gt"
    labels_images = False
    counts = dict(labeled=2, gt=3)
    test_views_can_leave_the_statistics_alone = None  # there are none
    unsup_losses = ("adv.loss_labeled",)


class TestAdvSemiSegWithMaps(AdversarialTester):
    """The published batch: three streams."""

    __test__ = True
    name = "advsemiseg_gt"
    counts = dict(labeled=2, unlabeled=3, gt=2)
    unsup_losses = ("adv.loss_labeled", "adv.loss_unlabeled", "unsup.loss_trusted")


class TestS4GANWithMaps(AdversarialTester):
    """The published batch: three streams."""

    __test__ = True
    name = "s4gan_gt"
    model = S4GAN
    counts = dict(labeled=2, unlabeled=3, gt=2)
    unsup_losses = ("adv.loss_matching", "unsup.loss_self")


# --- Modes and sources of real maps ---------------------------------------------------------------


@pytest.fixture
def build(segmentor_config, preprocessor_config):
    """A model with settings on top of those of the method."""

    def make(method: dict, **settings):
        networks = dict(segmentor=segmentor_config, data_preprocessor=preprocessor_config)
        model = MODELS.build(copy.deepcopy({**method, **networks, **settings}))
        model.init_weights()
        return model

    return make


@pytest.fixture
def train(semi_config):
    """Two steps of a model on images from disk; returns the values of each."""

    def run(model, counts: dict, **dataset) -> list[dict]:
        torch.manual_seed(0)
        parts = JOINT if hasattr(model, "discriminator") else {}
        optimizers = dict(type="OptimWrapper", optimizer=dict(type="SGD", lr=0.02), **parts)
        runner = StepRunner(model, build_optim_wrapper(model, copy.deepcopy(optimizers)))
        data = DATASETS.build(copy.deepcopy({**semi_config, **dataset}))
        values = [runner.step(batch) for batch in draw_batches(data, counts, 2)]
        assert all(torch.isfinite(torch.as_tensor(v)) for step in values for v in step.values())
        return values

    return run


EVERYTHING = dict(labeled=2, unlabeled=2)
MODES = {
    "semi from the first iteration": (EVERYTHING, dict(unsup_start=0)),
    "adversarial terms start late": (EVERYTHING, dict(unsup_adv_start=1, unsup_start=1)),
    "no weight on unlabelled images": (EVERYTHING, dict(unsup_weight=0, unsup_adv_weight=0)),
    "D on unlabelled maps without unlabelled images": (dict(labeled=2), dict(judge_unlabeled=True)),
    "no weight at all": (dict(labeled=2), dict(adv_weight=0)),
}


@pytest.mark.parametrize("gt", [0, 2])
@pytest.mark.parametrize("mode", MODES)
def test_modes_that_crash_in_the_released_code(build, train, mode, gt):
    """D learns in each of them, and a term without weight, or not yet started, is 0.

    docs/methods/advsemiseg.md#the-paper-and-the-released-code
    """
    counts, settings = MODES[mode]
    sources = dict(gt=dict(pool="labeled"))
    steps = train(build(ADVSEMISEG, **settings), dict(counts, gt=gt), sources=sources)
    cfg = {**ADVSEMISEG, **settings}
    for iteration, values in enumerate(steps):
        assert values["disc.loss"] > 0.1 and values["sup.decode.loss_ce"] > 0.1
        assert (values["adv.loss_labeled"] > 0) == (cfg["adv_weight"] > 0)
        if "unlabeled" not in counts:
            assert "adv.loss_unlabeled" not in values
            continue
        begun = iteration >= cfg.get("unsup_adv_start", 0)
        assert (values["adv.loss_unlabeled"] > 0) == (begun and cfg["unsup_adv_weight"] > 0)
        assert values["unsup.trusted"] > 0
        begun = iteration >= cfg["unsup_start"]
        assert (values["unsup.loss_trusted"] > 0) == (begun and cfg["unsup_weight"] > 0)


def test_without_weights_the_student_is_the_baseline(build, train):
    """The baseline mode is ``type='Supervised'``: here the discriminator only looks on."""
    start, moved = build(dict(type="Supervised")), []
    initial = copy.deepcopy(start.student.state_dict())
    for model in (start, build(ADVSEMISEG, adv_weight=0), build(ADVSEMISEG)):
        model.student.load_state_dict(initial)
        train(model, dict(labeled=3))
        moved.append(list(model.student.parameters()))
    assert all(torch.equal(*pair) for pair in zip(moved[0], moved[1]))
    assert not all(torch.equal(*pair) for pair in zip(moved[0], moved[2]))


@pytest.mark.parametrize("method", [ADVSEMISEG, S4GAN], ids=lambda method: method["type"])
def test_all_labels_with_the_same_images_as_unlabelled_ones(build, train, method):
    """Ratio 1: without a split all loaders run over the full set."""
    counts = dict(labeled=2, unlabeled=2, gt=2)
    pools = dict(unlabeled=dict(pool="all"), sources=dict(gt=dict(pool="labeled")))
    for values in train(build(method), counts, split=None, **pools):
        assert values["disc.loss"] > 0.1
        assert any(values[key] > 0 for key in values if key.startswith("unsup.loss"))


@pytest.mark.parametrize("method", [ADVSEMISEG, S4GAN], ids=lambda method: method["type"])
def test_real_maps_come_from_the_source_gt(build, train, method, monkeypatch):
    """Its masks, in its own crop, not those of the labelled images beside it."""
    pipeline = [
        dict(type="LoadImageFromFile"),
        dict(type="LoadAnnotations"),
        dict(type="RandomCoveringResize", ratios=[0.5, 2.0], crop_size=(32, 32)),
        dict(type="RandomCrop", crop_size=(32, 32)),
        dict(type="PackSemiInputs"),
    ]
    model, seen = build(method), []
    real_images = model.real_images
    monkeypatch.setattr(
        model, "real_images", lambda batch: seen.append((batch, real_images(batch))) or seen[-1][1]
    )
    gt = dict(pool="labeled", pipeline=pipeline)
    train(model, dict(labeled=1, unlabeled=2, gt=3), sources=dict(gt=gt))
    assert len(seen) == 2
    for batch, real in seen:
        assert real is batch.sources["gt"] and real.labels_NHW.shape == (3, 32, 32)
        assert len(batch.labeled) == 1 and real.valid_NHW.all()
        for label, sample in zip(real.labels_NHW, real.samples):
            assert sample.source == "gt" and sample.padding_size == [0, 0, 0, 0]
            assert torch.equal(label, sample.gt_sem_seg.data[0])


# --- Optimisers -----------------------------------------------------------------------------------

NO_OPTIMIZER = r"AdvSemiSeg .*optim_wrapper\.constructor=.*optim_wrapper\.discriminator="
SGD = dict(type="SGD", lr=0.02)
WRONG = {
    "one optimiser": dict(type="OptimWrapper", optimizer=SGD),
    "no constructor": dict(
        type="OptimWrapper", optimizer=SGD, discriminator=JOINT["discriminator"]
    ),
    "the stock constructor": dict(
        constructor="DefaultOptimWrapperConstructor",
        optimizer=SGD,
        discriminator=JOINT["discriminator"],
    ),
    "another part": dict(
        constructor=JOINT["constructor"], optimizer=SGD, student=JOINT["discriminator"]
    ),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_run_without_an_optimiser_for_the_discriminator_does_not_start(tmp_path, wrong):
    config = TestAdversarial().runner_config(tmp_path)
    config["optim_wrapper"] = WRONG[wrong]
    with pytest.raises(ConfigError, match=NO_OPTIMIZER):
        build_runner(config).train()


def refusal(config: dict) -> str:
    """Why a rank of the gloo pool does not train."""
    try:
        build_runner(config).train()
    except ConfigError as error:
        return str(error)
    return "it trained"


def test_nor_does_it_in_several_processes(gloo_pool, tmp_path):
    """Stock DDP never calls the model's own train_step."""
    config = TestAdversarial().runner_config(tmp_path, launcher="pytorch")
    config["optim_wrapper"] = WRONG["one optimiser"]
    for message in gloo_pool.run(refusal, config):
        assert re.match(NO_OPTIMIZER, message)


def test_nor_a_step_of_another_loop(build):
    model = build(ADVSEMISEG)
    whole = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1))
    with pytest.raises(ConfigError, match=NO_OPTIMIZER):
        model.train_step({}, whole)
    with pytest.raises(ConfigError, match=NO_OPTIMIZER):
        model.check_optim_wrapper(OptimWrapperDict(segmentor=whole))


def test_optimisers_that_work_are_accepted_as_config_and_built(build):
    model = build(ADVSEMISEG)
    config = ConfigDict(type="OptimWrapper", optimizer=SGD, **JOINT)
    model.check_optim_wrapper(config)
    model.check_optim_wrapper(build_optim_wrapper(model, config))


# --- Settings -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "key", "value"),
    [
        (ADVSEMISEG, "threshold", 20),
        (ADVSEMISEG, "threshold", "0.2"),
        (S4GAN, "threshold", -0.6),
        (S4GAN, "threshold", True),
        (ADVSEMISEG, "adv_weight", -0.01),
        (ADVSEMISEG, "unsup_weight", float("nan")),
        (S4GAN, "matching_weight", None),
        (ADVSEMISEG, "unsup_start", 0.25),
        (S4GAN, "unsup_start", -1),
        (ADVSEMISEG, "judge_unlabeled", "False"),
        (S4GAN, "ignore_padding", 0),
    ],
)
def test_settings_are_checked_when_the_model_is_built(build, method, key, value):
    """Not at the first step, or at the one where the term begins."""
    with pytest.raises(ConfigError, match=f"{method['type']}.{key}={value!r}"):
        build(method, **{key: value})


def test_the_ends_of_the_ranges_are_legal(build):
    build(ADVSEMISEG, threshold=0, adv_weight=0, unsup_weight=3, unsup_start=0)
    build(S4GAN, threshold=1.0, unsup_start=0)
